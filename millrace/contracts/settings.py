"""What every service is told by its environment. Each service's ``settings.py`` extends this and alone is read there.

Every variable begins with ``MILLRACE_``; an unknown value is refused at start with the variable's name.
"""

import ssl
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote

from pydantic import AliasChoices, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace.contracts.errors import ProjectError


class ServiceSettings(BaseSettings):
    """Settings that all five services share. Frozen once read."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore", populate_by_name=True)

    bootstrap_servers: str = Field(description="Kafka brokers, host:port separated by commas.")
    schema_registry_url: str = Field(description="Base of the Confluent-compatible Schema Registry API.")
    project: Path = Field(description="Folder of the model project.")
    data: Path = Field(Path(".millrace"), description="Folder for what a service keeps on disk.")
    http_host: str = Field("127.0.0.1", description="Address that health, metrics and the API listen on.")
    http_port: int = Field(0, ge=0, le=65535, description="Port of the same; 0 lets the system choose.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_ca_file: Path | None = Field(None, description="Certificates that sign the brokers'; default the system's.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How to log in, where the protocol is SASL."
    )
    kafka_sasl_username: str | None = Field(None, description="Who logs in.")
    kafka_sasl_password: SecretStr | None = Field(None, description="With which password.")
    log_level: str = Field("INFO", description="Least severe level that is logged.")
    session_timeout_ms: int = Field(6000, ge=1000, description="After this long without a heartbeat it is replaced.")
    request_timeout_ms: int = Field(
        10_000, ge=1000, description="A connection to Kafka that leaves a request unanswered for so long is given up."
    )
    artifacts_key: SecretStr | None = Field(
        None,
        description="32 bytes, base64, under which artefacts are kept encrypted; the same for all services.",
    )
    openlineage_url: HttpUrl | None = Field(
        None,
        description="Whole address that OpenLineage events are sent to, such as http://marquez:5000/api/v1/lineage.",
    )
    openlineage_api_key: SecretStr | None = Field(None, description="Sent there as a bearer token.")
    openlineage_file: Path | None = Field(None, description="File that OpenLineage events are added to, one a line.")
    otlp_endpoint: HttpUrl | None = Field(
        None,
        validation_alias=AliasChoices("MILLRACE_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Base address that traces are sent to by OTLP over HTTP, such as http://localhost:4318; "
        "`OTEL_EXPORTER_OTLP_ENDPOINT` says the same.",
    )
    otlp_headers: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("MILLRACE_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
        description="Sent with them: name=value, separated by commas; `OTEL_EXPORTER_OTLP_HEADERS` says the same.",
    )
    restarts: int = Field(0, ge=0, description="How often the service was started again; the supervisor says so.")
    failpoints: str | None = Field(
        None, description="For tests: where the process shall die, see millrace/bus/failpoints.py."
    )

    @model_validator(mode="after")
    def _sasl_has_a_name(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            msg = (
                f"MILLRACE_KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}: "
                "set MILLRACE_KAFKA_SASL_USERNAME and MILLRACE_KAFKA_SASL_PASSWORD too"
            )
            raise ValueError(msg)
        return self

    def otlp_header_fields(self) -> dict[str, str]:
        """The headers of requests to the OTLP endpoint.

        Raises:
            ProjectError: they are no pairs. It does not show them, because they may hold a secret.
        """
        given = "" if self.otlp_headers is None else self.otlp_headers.get_secret_value()
        pairs = [part.partition("=") for part in given.split(",") if part.strip()]
        if not all(mark and name.strip() for name, mark, _ in pairs):
            raise ProjectError("MILLRACE_OTLP_HEADERS must be name=value pairs, separated by commas")
        return {name.strip(): unquote(value.strip()) for name, _, value in pairs}

    @property
    def artifact_key(self) -> str | None:
        """The key of the artefacts, if there is one."""
        return None if self.artifacts_key is None else self.artifacts_key.get_secret_value()

    def kafka_client_options(self) -> dict[str, Any]:
        """What every Kafka client of the process is given, for TLS and SASL. Reads the certificates."""
        options: dict[str, Any] = {}
        if self.kafka_security_protocol != "PLAINTEXT":
            options["security_protocol"] = self.kafka_security_protocol
        if self.kafka_security_protocol.endswith("SSL"):
            cafile = str(self.kafka_ca_file) if self.kafka_ca_file else None
            options["ssl_context"] = ssl.create_default_context(cafile=cafile)
        if self.kafka_security_protocol.startswith("SASL"):
            assert self.kafka_sasl_password is not None, "validated"
            options["sasl_mechanism"] = self.kafka_sasl_mechanism
            options["sasl_plain_username"] = self.kafka_sasl_username
            options["sasl_plain_password"] = self.kafka_sasl_password.get_secret_value()
        return options
