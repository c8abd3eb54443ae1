"""Where traces go is said by our own variables or by OpenTelemetry's, and by settings alone."""

from collections.abc import Mapping

import pytest

from millrace.bus.service import traces_of
from millrace.contracts.errors import ProjectError
from millrace.contracts.settings import ServiceSettings
from services.serving.settings import Settings as ServingSettings

NEEDED = {"MILLRACE_BOOTSTRAP_SERVERS": "b:9092", "MILLRACE_SCHEMA_REGISTRY_URL": "http://r", "MILLRACE_PROJECT": "p"}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    """Settings of an environment that has these variables besides what is needed."""

    def make(kind: type[ServiceSettings] = ServiceSettings, **variables: str) -> ServiceSettings:
        for name, value in {**NEEDED, **variables}.items():
            monkeypatch.setenv(name, value)
        return kind()

    return make


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        ({"MILLRACE_OTLP_ENDPOINT": "http://collector:4318"}, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard:4318/"}, "http://standard:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard:4318/base"}, "http://standard:4318/base/v1/traces"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard:4318", "MILLRACE_OTLP_ENDPOINT": "https://ours/v1/traces"},
            "https://ours/v1/traces",
        ),
    ],
)
def test_ours_comes_before_the_standard_one(given, variables: Mapping[str, str], url: str | None) -> None:
    """Without either, traces are off."""
    traces = traces_of(given(ServingSettings, **variables), "serving", "serving@host")

    assert (url is not None, url) == (traces.on, traces._collector.url)


def test_headers_are_pairs_and_stay_secret(given) -> None:
    """As the standard has them: commas between, percent signs undone."""
    settings = given(OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20a=b, x-tenant = 7")

    assert {"Authorization": "Bearer a=b", "x-tenant": "7"} == settings.otlp_header_fields()
    assert "Bearer" not in repr(settings)


@pytest.mark.parametrize("value", ["secret", "=secret", "a=1,secret"])
def test_headers_that_are_none_are_refused_without_being_told(given, value: str) -> None:
    """The error names the variable and what it must be."""
    with pytest.raises(ProjectError, match="MILLRACE_OTLP_HEADERS must be name=value") as refused:
        given(MILLRACE_OTLP_HEADERS=value).otlp_header_fields()

    assert "secret" not in str(refused.value)


def test_the_supervisor_says_how_often_it_started_again(given) -> None:
    """Never, where there is none."""
    assert (0, 3) == (given().restarts, given(MILLRACE_RESTARTS="3").restarts)
