"""The owner's code as it was when the trainer started: what is hashed is what is run."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from millrace.contracts import topics
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from services.trainer.environment import lock_hash
from services.trainer.state import Policy
from services.trainer.train.task import PipelineSource


class Sources(NamedTuple):
    """The pipeline's text and that of each family that the search names; ``fault`` says what is wrong with them."""

    pipeline: PipelineSource
    families: Mapping[str, PipelineSource]
    fault: str | None

    @classmethod
    def read(cls, project: Project) -> "Sources":
        """Read the files. A fit with a file that cannot be compiled would fail, so readiness says it before."""
        search = project.training.search
        pipeline, fault = _read(project.folder, project.training.pipeline)
        families = {}
        for family in () if search is None else search.families:
            families[family.name], wrong = _read(project.folder, family.build)
            fault = fault or wrong
        return cls(pipeline, families, fault)


def _read(folder: Path, place: str) -> tuple[PipelineSource, str | None]:
    file, _, function = place.partition(":")
    path = folder / file
    try:
        source = PipelineSource(str(path), function or "build", path.read_bytes())
    except OSError as error:
        return PipelineSource(str(path), function or "build", b""), f"{path} cannot be read: {error.strerror}"
    try:
        compile(source.text, source.file, "exec")
    except (SyntaxError, ValueError) as error:
        return source, f"{path} cannot be compiled: {error}"
    return source, None


def policy_of(project: Project, sources: Sources) -> Policy:
    """The part of the project that decisions depend on."""
    return Policy(
        model=project.model,
        stream=project.stream,
        samples=topic_name(topics.SAMPLES, project),
        feature_set=project.feature_set,
        code_hash=code_hash(project, sources),
        training=project.training,
        config_hash=project.config_hash,
        lock_hash=lock_hash(),
    )


def code_hash(project: Project, sources: Sources) -> str:
    """The project's own, which knows the pipeline's file; with families in other files, of these too."""
    others = {source.file: source.text for source in sources.families.values() if source.file != sources.pipeline.file}
    if not others:
        return project.code_hash
    digest = hashlib.sha256(project.code_hash.encode())
    for file in sorted(others, key=lambda file: Path(file).name):
        digest.update(Path(file).name.encode() + b"\0" + others[file])
    return digest.hexdigest()[:16]
