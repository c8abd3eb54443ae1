"""What the registry is told by its environment."""

from pathlib import Path

from pydantic import Field

from millrace.contracts.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the registry."""

    artifacts: str | None = Field(
        None, description="Folder or s3:// address of the model files; default <data>/artifacts."
    )
    database_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="SQLAlchemy URL of the projection, such as postgresql://…; default SQLite in <data>/registry.db.",
    )

    keys: Path | None = Field(None, description="Folder of the signing keys and of trusted.json; default <data>/keys.")
    keys_create: bool = Field(
        True,  # noqa: FBT003  # pydantic's way to give a default
        description="Whether to make keys that are missing, at start; where not, a missing one is an error.",
    )

    @property
    def keys_folder(self) -> Path:
        """Where the keys are, with its default."""
        return self.keys or self.data / "keys"

    @property
    def database(self) -> str:
        """The database's URL, with its default."""
        return self.database_url or f"sqlite:///{(self.data / 'registry.db').absolute()}"
