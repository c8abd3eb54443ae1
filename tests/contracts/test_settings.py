"""Settings come from the environment, and a half-told secret is refused by name."""

import ssl

import pytest
from pydantic import ValidationError

from millrace.bus.kafka import KafkaTransport
from millrace.contracts.settings import ServiceSettings

NEEDED = {"bootstrap_servers": "broker:9092", "schema_registry_url": "http://registry", "project": "model"}


def test_the_environment_is_read(monkeypatch):
    """Each field is a variable that begins with MILLRACE_."""
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"MILLRACE_{name.upper()}", value)
    monkeypatch.setenv("MILLRACE_HTTP_PORT", "8123")

    assert (8123, "broker:9092") == (ServiceSettings().http_port, ServiceSettings().bootstrap_servers)


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"http_port": 70_000}, "http_port"),
        ({"kafka_security_protocol": "TLS"}, "kafka_security_protocol"),
        ({"kafka_security_protocol": "SASL_SSL"}, "set MILLRACE_KAFKA_SASL_USERNAME"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_username": "a"}, "MILLRACE_KAFKA_SASL_PASSWORD"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(changes, seen):
    """The message names the setting."""
    with pytest.raises(ValidationError, match=seen):
        ServiceSettings(**NEEDED, **changes)


def test_security_reaches_the_client_and_no_log():
    """TLS and SASL become client options that the transport takes; the password is not shown."""
    settings = ServiceSettings(
        **NEEDED, kafka_security_protocol="SASL_SSL", kafka_sasl_username="anna", kafka_sasl_password="s3cret"
    )
    options = settings.kafka_client_options()

    assert {} == ServiceSettings(**NEEDED).kafka_client_options()
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "anna",
        "sasl_plain_password": "s3cret",
    }  # fmt: skip
    assert "s3cret" not in repr(settings)
    KafkaTransport("broker:9092", "test", client_options=settings.kafka_client_options())
