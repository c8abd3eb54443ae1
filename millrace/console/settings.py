"""What the console is told by its environment."""

import getpass
from pathlib import Path

from pydantic import Field, SecretStr

from millrace.contracts.settings import ServiceSettings


def login_name() -> str:
    """Who runs this process; ``operator`` where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "operator"


class Settings(ServiceSettings):
    """Settings of the console."""

    console_services: dict[str, str] = Field(
        default_factory=dict,
        description='Base address of each service, as JSON, such as {"ingest": "http://ingest:8080"}; left out: those '
        "that `millrace up` runs on the data folder.",
    )
    console_registry_url: str | None = Field(
        None, description="Base address of the registry's API; default that of the service `registry`."
    )
    console_projects: tuple[Path, ...] = Field(
        (), description="Further model projects, as a JSON list of folders: their streams and dead letters are shown."
    )
    console_database: Path | None = Field(
        None, description="SQLite file of the projection, rebuilt from the log; default <data>/console.db."
    )
    console_token: SecretStr | None = Field(
        None, description="Asked of every call of the API, as a bearer token. Set it where others reach the console."
    )
    console_names: tuple[str, ...] = Field(
        (), description="Names under which browsers reach the console, as a JSON list; this machine's own if left out."
    )
    console_actor: str = Field(
        default_factory=login_name, min_length=1, max_length=100, description="Whose name the pages offer as the actor."
    )
    artifacts: str | None = Field(
        None, description="Folder or s3:// address of the artefacts; default <data>/artifacts."
    )
    lake: str | None = Field(
        None, description="Folder or s3:// address of the lake; default <data>/lake; `off` for none."
    )

    @property
    def database(self) -> Path:
        """The database's file, with its default."""
        return self.console_database or self.data / "console.db"

    @property
    def token(self) -> str | None:
        """The token, if one is asked for."""
        return None if self.console_token is None else self.console_token.get_secret_value()
