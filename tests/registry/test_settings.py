"""What the registry is told by its environment."""

import pytest

from services.registry.settings import Settings

NEEDED = {
    "MILLRACE_BOOTSTRAP_SERVERS": "127.0.0.1:9092", "MILLRACE_SCHEMA_REGISTRY_URL": "http://127.0.0.1:8081",
    "MILLRACE_PROJECT": "project", "MILLRACE_DATA": "/data",
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "database"),
    [
        ({}, "sqlite:////data/registry.db"),
        ({"MILLRACE_DATABASE_URL": "postgresql://m:secret@db/millrace"}, "postgresql://m:secret@db/millrace"),
    ],
)
def test_the_database_is_sqlite_in_the_data_folder_unless_told(monkeypatch, more, database):
    """No setting is needed on a laptop; in production one URL is, and its password is not shown."""
    for name, value in {**NEEDED, **more}.items():
        monkeypatch.setenv(name, value)
    settings = Settings()

    assert database == settings.database
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("more", "folder", "create"),
    [
        ({}, "/data/keys", True),
        ({"MILLRACE_KEYS": "/secret/keys", "MILLRACE_KEYS_CREATE": "false"}, "/secret/keys", False),
    ],
)
def test_keys_are_in_the_data_folder_and_made_there_unless_told(monkeypatch, more, folder, create):
    """No setting is needed on a laptop; in production keys come from elsewhere and are never made up."""
    for name, value in {**NEEDED, **more}.items():
        monkeypatch.setenv(name, value)
    settings = Settings()

    assert (folder, create) == (str(settings.keys_folder), settings.keys_create)
