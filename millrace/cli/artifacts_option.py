"""Where the artefacts are, for the commands that read them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from millrace.stores.artifacts import ArtifactStore

F = TypeVar("F", bound=Callable[..., Any])


def artifacts_option(function: F) -> F:
    """The store's root."""
    return click.option(
        "--artifacts",
        metavar="FOLDER|URL",
        help="The artefact store; MILLRACE_ARTIFACTS, or artifacts under --data, if left out.",
    )(function)


def store_of(data: Path, artifacts: str | None) -> "ArtifactStore":
    """The artefact store that was named, else the one that the trainer of that data folder has."""
    from millrace.stores.artifacts import ArtifactStore
    from services.trainer.settings import Settings

    given: dict[str, Any] = {} if artifacts is None else {"artifacts": artifacts}
    settings = Settings(bootstrap_servers="", schema_registry_url="", project=Path(), data=data, **given)
    return ArtifactStore(settings.artifact_root)
