"""The whole system, running: broker, schema registry and five services, once for all tests of this folder."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from millrace.contracts.project import Project, load_project
from millrace.local.embedded import Embedded
from millrace.local.platform import Platform
from millrace.local.prepare import prepare
from tests.conftest import Broker

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
SMALL = {"first_rows": 400, "window_rows": 800, "holdout_rows": 100, "snapshot_every_rows": 100}


@dataclass(frozen=True, slots=True)
class Running:
    """A running system and its project."""

    embedded: Embedded
    project: Project
    data: Path

    @property
    def bootstrap_servers(self) -> str:
        """Where the broker answers."""
        return self.embedded.bootstrap_servers

    @property
    def schema_registry_url(self) -> str:
        """The base of the registry's Confluent API."""
        return self.embedded.schema_registry_url


@pytest.fixture(scope="session")
def running(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The electricity example with a first model after 400 rows."""
    folder = tmp_path_factory.mktemp("small") / "electricity"
    shutil.copytree(EXAMPLE, folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["training"] |= SMALL
    config["gates"]["first"] = 0.5
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    data = tmp_path_factory.mktemp("running")
    platform = Platform(
        data,
        project=folder,
        bootstrap_servers=broker.bootstrap_servers,
        schema_registry_url=broker.schema_registry_url,
        prepare=prepare,
    )
    with Embedded(platform).start() as embedded:
        yield Running(embedded, load_project(folder), data)
