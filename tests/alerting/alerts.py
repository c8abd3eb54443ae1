"""Alerts for tests."""

from typing import Any

from millrace.contracts.monitor_events import AlertHandled, AlertRaised

AT_MS = 1_600_000_000_000
HOUR_MS = 3_600_000


def raised(number: int = 1, **values: Any) -> AlertRaised:
    """An alert with this number in its id."""
    facts: dict[str, Any] = {
        "alert_id": f"alert/{number}",
        "service": "monitor",
        "severity": "WARNING",
        "reason": "drift",
        "subject": "tiny version 1",
        "message": "accuracy fell from 0.9 to 0.7; a retrain is requested",
        "raised_at_ms": AT_MS,
        "model": "tiny",
    }
    return AlertRaised(**{**facts, **values})


def handled(action: str, at_ms: int = AT_MS, **values: Any) -> AlertHandled:
    """What an operator did."""
    facts: dict[str, Any] = {
        "handling_id": f"{action}/{at_ms}/{sorted(values.items())}",
        "action": action,
        "actor": "me",
        "comment": "because",
        "handled_at_ms": at_ms,
    }
    return AlertHandled(**{**facts, **values})
