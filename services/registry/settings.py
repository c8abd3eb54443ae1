"""What the registry is told by its environment."""

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

    @property
    def database(self) -> str:
        """The database's URL, with its default."""
        return self.database_url or f"sqlite:///{(self.data / 'registry.db').absolute()}"
