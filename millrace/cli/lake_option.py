"""Where the lake is, for the commands that read it: found as ingest finds it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from millrace.contracts.project import Project

if TYPE_CHECKING:
    from millrace.stores.lake import Lake

F = TypeVar("F", bound=Callable[..., Any])


def lake_option(function: F) -> F:
    """The lake's root."""
    return click.option(
        "--lake",
        "lake_root",
        metavar="FOLDER|URL",
        help="The lake's root; MILLRACE_LAKE, or the folder lake under --data, if left out.",
    )(function)


def open_lake(project: Project, data: Path, root: str | None) -> "Lake":
    """The stream's table: where ``root`` says, else as ``MILLRACE_LAKE`` and its kin say, else under the data folder.

    Raises:
        LakeError: the settings say that there is none.
    """
    from millrace.stores.lake import LakeError
    from services.ingest.settings import Settings
    from services.ingest.wiring import lake_of

    given: dict[str, Any] = {} if root is None else {"lake": root}
    settings = Settings(bootstrap_servers="", schema_registry_url="", project=project.folder, data=data, **given)
    lake = lake_of(settings, project)
    if lake is None:
        raise LakeError("there is no lake: MILLRACE_LAKE is off; give --lake FOLDER or URL")
    return lake
