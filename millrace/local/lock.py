"""Write the lock files anew, after a version in `ROOTS` was changed: `python -m millrace.local.lock`.

This trusts what the repository holds now, checked against the checksums it publishes; from then on only those bytes
pass.
"""

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from jgo.maven import Artifact, MavenContext, PythonResolver

from millrace.local.errors import DamagedError
from millrace.local.maven import repositories, write_lock

HERE = Path(__file__).parent

# Per lock file: (group, name, packaging, classifier, version), the first of them with all it needs at run time.
ROOTS: dict[str, tuple[tuple[str, str, str, str, str], ...]] = {
    "kafka.lock": (
        # 4.3.0 to 4.4.0 lose the markers of a transaction that ends while its partitions have no leader, and call it
        # committed (KAFKA-20734): records then appear twice. See docs/decisions/0007.
        ("org.apache.kafka", "kafka_2.13", "jar", "", "4.2.1"),
        # Kafka's own archive adds this logging binding, which its POM does not name; without it there is no log at all.
        # It is taken alone: resolved together with Kafka, its parent POM would pin an older kafka-clients.
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "jar", "", "2.25.4"),
    ),
    "apicurio.lock": (("io.apicurio", "apicurio-registry-app", "tar.gz", "all", "3.3.3"),),
}


class _Refuse(logging.Handler):
    """Turns jgo's warning about a wrong checksum, and any other, into an error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise what jgo only mentions."""
        raise DamagedError(record.getMessage())


def closure(context: MavenContext, roots: tuple[tuple[str, str, str, str, str], ...]) -> list[Artifact]:
    """Return the first root with its runtime dependencies, then the other roots alone."""
    artifacts = [
        context.project(group, name).at_version(version).artifact(classifier=classifier, packaging=packaging)
        for group, name, packaging, classifier, version in roots
    ]
    first, *single = artifacts
    if first.packaging != "jar":
        return artifacts
    root = context.create_dependency(f"{first.groupId}:{first.artifactId}:{first.version}")
    inputs, transitive = context.resolver.resolve([root])
    return [*(dependency.artifact for dependency in (*inputs, *transitive)), *single]


def lock(context: MavenContext, roots: tuple[tuple[str, str, str, str, str], ...]) -> str:
    """Return the text of one lock file. Raises DamagedError when a download differs from its published checksum."""
    files: dict[str, Path] = {}
    for artifact in closure(context, roots):
        parts = (artifact.groupId, artifact.artifactId, artifact.packaging, artifact.classifier, artifact.version)
        files[":".join(part for part in parts if part)] = artifact.resolve()
    return "# Written by: python -m millrace.local.lock\n" + write_lock(files)


def main() -> None:
    """Write every lock file beside this module."""
    logging.getLogger("jgo").addHandler(_Refuse(logging.WARNING))
    with TemporaryDirectory() as cache:
        context = MavenContext(
            resolver=PythonResolver(), repo_cache=Path(cache), local_repos=[], remote_repos=repositories()
        )
        for name, roots in ROOTS.items():
            text = lock(context, roots)
            (HERE / name).write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}: {len(text.splitlines()) - 1} artefacts\n")


if __name__ == "__main__":
    main()
