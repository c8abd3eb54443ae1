"""The two JVM peers: Kafka Streams with exactly_once_v2, and a hand-written loop of transactional micro-batches.

Both do what serving does: samples in, one prediction for each EVENT out, exactly once, with the same fields and values
(``services/serving/lane.py``). Both print ``ready`` when they are consuming and run until SIGTERM, upon which they
commit, leave their group and end with 143, as a JVM does. A failure ends them with 1 and its reason on stderr.

The Java sources are a Maven project beside this file. They are built where there is a JDK 17 or newer and Maven;
elsewhere `Built.why_not` has the sentence for the table.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[1] / "schemas"
NAMES = ("kafka-streams", "jvm-loop")
BUILD_TIMEOUT_S = 600  # the first build fetches 150 MB
REASON_CHARS = 300

# A fixed heap of a size that neither peer comes near, so that warming up is compiling and not growing. The serial
# collector: on two cores, shared with the broker, the loop took 7.1 CPU seconds for 396,000 events with it, 8.0 with
# the parallel one and 9.2 with G1 (medians of 4, 4 and 2 runs).
JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseSerialGC")


@dataclass(frozen=True, slots=True)
class Built:
    """What came of the build: the jar, with its libraries in ``lib`` beside it, or why there is none."""

    jar: Path | None
    why_not: str | None = None


def sources() -> list[Path]:
    """The files of the Maven project, relative to this folder, sorted."""
    found = [HERE / "pom.xml", *(path for path in HERE.glob("src/**/*") if path.is_file())]
    return sorted(path.relative_to(HERE) for path in found)


def fingerprint() -> str:
    """Hash of names and contents of the sources: the same for the same project, wherever it lies."""
    digest = hashlib.sha256()
    for path in sources():
        content = (HERE / path).read_bytes()
        digest.update(f"{path.as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def build(work: Path) -> Built:
    """Build the peers in a folder of ``work`` named for the sources, unless that was done before."""
    missing = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    if missing:
        return Built(None, f"skipped: no {' and no '.join(missing)} on this machine")
    folder = work.resolve() / f"jvm-{fingerprint()}"
    jar = folder / "target" / "peers.jar"
    done = folder / "built"  # Maven writes the jar before it copies the libraries
    if done.exists():
        return Built(jar)
    for path in sources():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / path, folder / path)
    try:
        run = subprocess.run(
            ["mvn", "-q", "-B", "-DskipTests", "package"],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Built(None, f"skipped: Maven did not finish in {BUILD_TIMEOUT_S} s")
    if run.returncode != 0:
        return Built(None, f"skipped: {reason(run.stdout + run.stderr)}")
    done.touch()
    return Built(jar)


def reason(output: str) -> str:
    """The first error that Maven tells of, in one line."""
    errors = [line.removeprefix("[ERROR] ").strip() for line in output.splitlines() if line.startswith("[ERROR] ")]
    first = next((line for line in errors if line), "Maven failed and gave no reason")
    return first if len(first) <= REASON_CHARS else first[: REASON_CHARS - 1] + "…"


def command(
    name: str,
    built: Built,
    *,
    bootstrap_servers: str,
    group: str,
    samples: str,
    predictions: str,
    model_file: Path,
    features: int,
    schema_id: int,
    model: str = "bench",
    version: int = 1,
    epoch: int = 1,
    classes: Sequence[str] = ("no", "yes"),
    batch: int = 10_000,
    threads: int = 1,
) -> list[str]:
    """How a peer is started.

    Args:
        name: one of ``NAMES``.
        built: what `build` gave, with a jar.
        bootstrap_servers: the broker.
        group: consumer group, or application id.
        samples: the topic to read, from the start where the group has no position.
        predictions: the topic to write.
        model_file: a classifier in ONNX: float features in, label and probabilities out.
        features: its width.
        schema_id: what the predictions carry as the id of their schema.
        model: as in the predictions.
        version: as in the predictions.
        epoch: as in the predictions.
        classes: names of the classes, in the model's order.
        batch: records of a micro-batch of jvm-loop, at most; the most that Kafka Streams takes at once.
        threads: stream threads of Kafka Streams; jvm-loop has one.
    """
    if name not in NAMES or built.jar is None:
        raise ValueError(f"{name} cannot be started: {built.why_not or f'the peers are {NAMES}'}")
    options = {
        "bootstrap-servers": bootstrap_servers,
        "group": group,
        "samples": samples,
        "predictions": predictions,
        "model-file": model_file,
        "features": features,
        "sample-schema": SCHEMAS / "sample-recorded" / "v2.avsc",
        "prediction-schema": SCHEMAS / "prediction-made" / "v1.avsc",
        "schema-id": schema_id,
        "model": model,
        "version": version,
        "epoch": epoch,
        "classes": ",".join(classes),
        "batch": batch,
        "threads": threads,
    }
    temporary = (
        f"-Djava.io.tmpdir={built.jar.parent}"  # onnxruntime unpacks its libraries there, and leaves the folders
    )
    java = ["java", *JVM, temporary, "-jar", str(built.jar)]
    return [*java, name, *(f"--{key}={value}" for key, value in options.items())]
