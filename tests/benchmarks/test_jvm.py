"""The JVM peers, as far as they can be known without a JVM."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import jvm

POM = "{http://maven.apache.org/POM/4.0.0}"
BUILT = jvm.Built(Path("peers.jar"))


def start(name: str = "jvm-loop", built: jvm.Built = BUILT) -> list[str]:
    """The command of a peer whose particulars do not matter."""
    return jvm.command(
        name,
        built,
        bootstrap_servers="127.0.0.1:9092",
        group="g",
        samples="bench-samples",
        predictions="bench-predictions",
        model_file=Path("model.onnx"),
        features=10,
        schema_id=7,
    )


def test_without_maven_the_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine without a JDK and Maven gets a sentence, no exception, and nothing is written."""
    monkeypatch.setenv("PATH", str(tmp_path))

    built = jvm.build(tmp_path / "work")

    assert jvm.Built(None, "skipped: no java and no javac and no mvn on this machine") == built
    assert not (tmp_path / "work").exists()


def test_a_failing_maven_gives_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first error that Maven prints becomes the reason, and the next build tries again."""
    for tool in ("java", "javac", "mvn"):
        (tmp_path / tool).write_text("#!/bin/sh\necho '[ERROR] release version 17 not supported'\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    expected = jvm.Built(None, "skipped: release version 17 not supported")
    assert expected == jvm.build(tmp_path / "work")
    assert expected == jvm.build(tmp_path / "work")


def test_a_build_that_was_done_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same sources are built once in a folder; Maven is not asked again."""
    asked = tmp_path / "asked"
    for tool in ("java", "javac", "mvn"):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho . >> {asked}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    first, second = jvm.build(tmp_path / "work"), jvm.build(tmp_path / "work")

    assert first == second
    assert first.jar == tmp_path / "work" / f"jvm-{jvm.fingerprint()}" / "target" / "peers.jar"
    assert ".\n" == asked.read_text()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "Maven failed and gave no reason"),
        ("[INFO] x\n[ERROR] \n[ERROR] cannot reach it\n[ERROR] more", "cannot reach it"),
        ("[ERROR] " + "x" * 400, "x" * 299 + "…"),
    ],
)
def test_the_reason_is_one_short_line(output: str, reason: str):
    """Maven's first error that has words, cut to what a table can hold."""
    assert reason == jvm.reason(output)


def test_every_option_that_java_reads_is_given():
    """The names that Options.java asks for are the names that `command` gives."""
    source = (jvm.HERE / "src/main/java/millrace/bench/Options.java").read_text()
    asked = {part.split('"')[0] for part in source.split('"--')[1:]}
    given = {part.removeprefix("--").split("=")[0] for part in start() if part.startswith("--")}

    assert 15 == len(asked)
    assert asked == given


def test_schemas_that_are_passed_exist():
    """Both peers read the project's own schema files."""
    paths = [Path(part.split("=", 1)[1]) for part in start() if "-schema=" in part]

    assert [True, True] == [path.is_file() for path in paths]


@pytest.mark.parametrize(
    ("name", "built", "message"),
    [
        ("spark", BUILT, "the peers are"),
        ("jvm-loop", jvm.Built(None, "skipped: no mvn on this machine"), "no mvn on this machine"),
    ],
)
def test_what_cannot_be_started_is_refused(name: str, built: jvm.Built, message: str):
    """An unknown peer, and one that was not built, are refused with the reason."""
    with pytest.raises(ValueError, match=message):
        start(name, built)


def test_every_version_is_pinned():
    """Each dependency and plugin of the Maven project has a fixed version."""
    root = ET.parse(jvm.HERE / "pom.xml").getroot()
    pinned = {
        one.findtext(f"{POM}artifactId"): one.findtext(f"{POM}version", "")
        for kind in ("dependency", "plugin")
        for one in root.iter(f"{POM}{kind}")
    }

    assert 9 == len(pinned)
    assert {} == {name: version for name, version in pinned.items() if not version[:1].isdigit()}
