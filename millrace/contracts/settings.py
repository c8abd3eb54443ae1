"""What every service is told by its environment. Each service's ``settings.py`` extends this and alone is read there.

Every variable begins with ``MILLRACE_``; an unknown value is refused at start with the variable's name.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Settings that all five services share. Frozen once read."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore")

    bootstrap_servers: str = Field(description="Kafka brokers, host:port separated by commas.")
    schema_registry_url: str = Field(description="Base of the Confluent-compatible Schema Registry API.")
    project: Path = Field(description="Folder of the model project.")
    data: Path = Field(Path(".millrace"), description="Folder for what a service keeps on disk.")
    http_host: str = Field("127.0.0.1", description="Address that health, metrics and the API listen on.")
    http_port: int = Field(0, ge=0, le=65535, description="Port of the same; 0 lets the system choose.")
    log_level: str = Field("INFO", description="Least severe level that is logged.")
    session_timeout_ms: int = Field(6000, ge=1000, description="After this long without a heartbeat it is replaced.")
