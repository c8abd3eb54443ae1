"""Finding a Java."""

from pathlib import Path

import pytest

from millrace.local.errors import JavaNotFoundError
from millrace.local.java import find_java, major_version


def fake_java(home: Path, release: str) -> Path:
    """A Java home whose release file says `release`."""
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    (home / "release").write_text(f'JAVA_VERSION="{release}"\n')
    return java


@pytest.mark.parametrize(("release", "major"), [("1.8.0_402", 8), ("17.0.15", 17), ("21", 21), ("25.0.2", 25)])
def test_version_is_read_from_the_release_file(tmp_path: Path, release: str, major: int) -> None:
    """Old and new ways of writing a version give the major version."""
    assert major == major_version(fake_java(tmp_path, release))


def test_version_is_asked_where_no_file_tells_it(tmp_path: Path) -> None:
    """A launcher without a release file is run."""
    java = fake_java(tmp_path, "99")
    (tmp_path / "release").unlink()
    java.write_text("#!/bin/sh\necho 'openjdk version \"23.0.1\" 2024-10-15' >&2\n")

    assert major_version(java) == 23


def test_java_home_goes_before_path(tmp_path: Path) -> None:
    """The user's explicit choice wins."""
    chosen = fake_java(tmp_path / "home", "21.0.1")
    on_path = fake_java(tmp_path / "path", "24.0.1")

    found = find_java(environ={"JAVA_HOME": str(tmp_path / "home"), "PATH": str(on_path.parent)})

    assert found.path == chosen


def test_an_old_java_is_passed_over(tmp_path: Path) -> None:
    """A Java that is too old does not hide the one that pip installed."""
    old = fake_java(tmp_path, "17.0.15")

    found = find_java(environ={"PATH": str(old.parent)})

    assert found.path != old
    assert found.major >= 21


def test_the_error_names_what_was_refused(tmp_path: Path) -> None:
    """Nothing good enough: the message says what was found and what to do."""
    old = fake_java(tmp_path, "17.0.15")

    with pytest.raises(JavaNotFoundError, match=r"Java 99 or newer.*is Java 17.*JAVA_HOME"):
        find_java(99, environ={"PATH": str(old.parent)})
