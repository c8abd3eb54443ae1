"""Fixtures that all tests may ask for."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import structlog
from hypothesis import settings

from millrace.local.embedded import start_embedded

# A busy machine must not fail a property; the seed of a failure is printed, and replays it.
settings.register_profile("millrace", deadline=None, print_blob=True)
settings.load_profile("millrace")


@pytest.fixture(autouse=True)
def logs_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that runs in a test sets up the log of its process, which is ours: afterwards it is taken back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(structlog, "configure", partial(_configure, structlog.configure))
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level


def _configure(configure: Callable[..., None], **options: Any) -> None:
    """Without the cache: what is cached cannot be taken back."""
    configure(**{**options, "cache_logger_on_first_use": False})


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
