"""What Alertmanager posts becomes our own events."""

import json

import pytest

from millrace.alerting.prometheus import events_of
from millrace.contracts.errors import ContractError
from millrace.contracts.monitor_events import AlertHandled, AlertRaised

FIRING = {
    "status": "firing",
    "labels": {"alertname": "ServiceDown", "severity": "critical", "instance": "serving:8004", "job": "millrace"},
    "annotations": {"summary": "serving:8004 does not answer", "description": "Read its log.", "runbook_url": "docs/r"},
    "startsAt": "2026-01-02T03:04:05.678Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "a1b2",
}
RESOLVED = {**FIRING, "status": "resolved", "endsAt": "2026-01-02T03:14:05Z"}


def body(*alerts: object) -> str:
    """As Alertmanager posts it."""
    return json.dumps({"version": "4", "status": "firing", "receiver": "console", "alerts": alerts})


def test_an_alert_that_fires_is_raised():
    """With the way out in its message; told again it is the same."""
    (event,) = events_of(body(FIRING))

    assert isinstance(event, AlertRaised)
    assert ("prometheus", "CRITICAL", "service-down", "serving:8004") == (
        event.service,
        event.severity,
        event.reason,
        event.subject,
    )
    assert "serving:8004 does not answer Read its log. docs/r" == event.message
    assert "alert/prometheus/a1b2/1767323045678" == event.alert_id
    assert [event] == events_of(body(FIRING).encode())


def test_an_alert_of_a_model_names_it():
    """And is about it, not about who exposes the metric."""
    labels = {"alertname": "ModelStale", "severity": "warning", "model": "tiny", "instance": "registry:8003"}
    (event,) = events_of(body({**FIRING, "labels": labels}))

    assert isinstance(event, AlertRaised)
    assert ("tiny", "tiny", "WARNING", "model-stale") == (event.model, event.subject, event.severity, event.reason)


def test_an_alert_that_is_over_is_a_remark_on_it():
    """It names the alert, so that the console can show when it ended."""
    (raised,) = events_of(body(FIRING))
    (over,) = events_of(body(RESOLVED))

    assert isinstance(raised, AlertRaised)
    assert isinstance(over, AlertHandled)
    assert ("NOTED", raised.alert_id, "prometheus") == (over.action, over.alert_id, over.actor)
    assert "over since 2026-01-02T03:14:05+00:00" == over.comment


@pytest.mark.parametrize(
    "bad", ["", "[]", "{}", body({"status": "firing"}), body({**FIRING, "status": "odd"}), b"\xff"]
)
def test_what_is_no_such_body_is_refused(bad):
    """The console answers 400 with these words."""
    with pytest.raises(ContractError, match="not what Alertmanager posts"):
        events_of(bad)
