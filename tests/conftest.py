"""Fixtures that all tests may ask for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings

from millrace.local.embedded import start_embedded

# A busy machine must not fail a property; the seed of a failure is printed, and replays it.
settings.register_profile("millrace", deadline=None, print_blob=True)
settings.load_profile("millrace")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the real broker and schema registry are."""

    bootstrap_servers: str
    schema_registry_url: str


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Kafka and a real schema registry, started once; or those that the environment names."""
    bootstrap = os.environ.get("MILLRACE_TEST_BOOTSTRAP")
    if bootstrap:
        yield Broker(bootstrap, os.environ["MILLRACE_TEST_SCHEMA_REGISTRY"])
        return
    with start_embedded(tmp_path_factory.mktemp("platform")) as embedded:
        yield Broker(embedded.bootstrap_servers, embedded.schema_registry_url)
