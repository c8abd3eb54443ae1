"""Health says what fails, and metrics are all declared once."""

import httpx
import pytest
from prometheus_client import REGISTRY

from millrace.telemetry import metrics
from millrace.telemetry.health import build_app


async def get(app, path: str) -> httpx.Response:
    """Ask the application."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("checks", "status", "failing"),
    [
        ({"bus": None}, 200, {}),
        ({"bus": "no answer", "model": None}, 503, {"bus": "no answer"}),
    ],
)
async def test_readiness_names_the_failing_check(checks, status, failing):
    """503 with each failing check and why; 200 when all pass."""
    answer = await get(build_app("test", lambda: checks), "/readyz")

    assert (status, failing) == (answer.status_code, answer.json()["failing"])


async def test_liveness_does_not_depend_on_checks():
    """A service that is not ready is still alive."""
    assert (await get(build_app("test", lambda: {"bus": "no"}), "/livez")).status_code == 200


async def test_metrics_are_exposed():
    """The text format holds what was counted."""
    metrics.DEAD_LETTERS.labels("test-health", "out-of-range").inc()
    text = (await get(build_app("test", dict), "/metrics")).text

    assert 'millrace_dead_letters_total{reason="out-of-range",stream="test-health"} 1.0' in text


def test_names_follow_the_rules():
    """Ours begin with millrace_, end in their unit, and counters in _total; none is labelled by entity."""
    ours = [metric for metric in vars(metrics).values() if hasattr(metric, "_labelnames")]

    assert len(ours) >= 12
    for metric in ours:
        assert metric._name.startswith("millrace_")
        assert "entity" not in metric._labelnames
        assert metric._type != "histogram" or metric._name.endswith("_seconds")
    assert len({metric._name for metric in ours}) == len(ours)
    assert REGISTRY is not None
