"""The trainer's settings."""

import pytest
from pydantic import ValidationError

from services.trainer.settings import Settings

NEEDED = {"bootstrap_servers": "b:1", "schema_registry_url": "http://r", "project": "p"}


def test_artefacts_lie_under_the_data_folder_unless_told():
    """The default follows ``data``; an address is taken as it is."""
    assert "d/artifacts" == Settings(**NEEDED, data="d").artifact_root
    assert "s3://b/p" == Settings(**NEEDED, artifacts="s3://b/p").artifact_root


def test_a_fit_is_limited_and_its_search_lies_under_the_data_folder():
    """Generous limits for each fit; a negative one is refused by its name."""
    settings = Settings(**NEEDED, data="d")
    assert (4096, 36_000, 256) == (settings.training_memory_mb, settings.training_cpu_s, settings.training_processes)
    assert "d/studies" == str(settings.studies)
    with pytest.raises(ValidationError, match="training_cpu_s"):
        Settings(**NEEDED, training_cpu_s=-1)


def test_at_least_one_thread():
    """Whatever the machine, a fit has a thread; none is refused."""
    assert Settings(**NEEDED).training_threads >= 1
    with pytest.raises(ValidationError, match="training_threads"):
        Settings(**NEEDED, training_threads=0)
