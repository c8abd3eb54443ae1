"""From Alertmanager's webhook to our own events: the console shows what Prometheus found beside what services raised.

The body is Alertmanager's, version 4 (prometheus.io/docs/alerting/latest/configuration/#webhook_config). An alert that
fires becomes an ``AlertRaised`` of the service ``prometheus``; one that is over becomes a remark on it.
"""

import re
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from millrace.contracts.errors import ContractError
from millrace.contracts.monitor_events import AlertHandled, AlertRaised

SERVICE = "prometheus"
SUBJECTS = ("subject", "model", "stream", "service", "instance", "job")
"""Labels that say what an alert is about, the most telling first."""


class _Alert(BaseModel):
    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: datetime = Field(alias="startsAt")
    ends_at: datetime = Field(alias="endsAt")
    fingerprint: str = Field(min_length=1)

    @property
    def alert_id(self) -> str:
        """The same for each time that Alertmanager tells of it, another when it fires anew."""
        return f"alert/{SERVICE}/{self.fingerprint}/{_ms(self.starts_at)}"


class _Body(BaseModel):
    alerts: list[_Alert]


def events_of(body: bytes | str) -> list[AlertRaised | AlertHandled]:
    """What Alertmanager tells, as events for the topics ``alerts`` and ``alert-actions``, in its order.

    Ids are deterministic: what it tells again gives the same events. Raises ``ContractError``
    (``no-alertmanager-body``) for a body that is none.
    """
    try:
        told = _Body.model_validate_json(body)
    except ValidationError as error:
        shown = error.errors(include_url=False, include_input=False)[:3]
        message = f"not what Alertmanager posts to a webhook (version 4): {shown}; see deploy/alertmanager"
        raise ContractError("no-alertmanager-body", message) from error
    return [_raised(alert) if alert.status == "firing" else _over(alert) for alert in told.alerts]


def _raised(alert: _Alert) -> AlertRaised:
    labels, notes = alert.labels, alert.annotations
    name = labels.get("alertname", "unnamed")
    message = [notes.get("summary", name), notes.get("description", ""), notes.get("runbook_url", "")]
    return AlertRaised(
        alert_id=alert.alert_id,
        service=SERVICE,
        severity="CRITICAL" if labels.get("severity") == "critical" else "WARNING",
        reason=slug(name),
        subject=next((labels[label] for label in SUBJECTS if labels.get(label)), name),
        message=" ".join(part.strip() for part in message if part),
        raised_at_ms=_ms(alert.starts_at),
        model=labels.get("model") or None,
    )


def _over(alert: _Alert) -> AlertHandled:
    return AlertHandled(
        handling_id=f"{alert.alert_id}/over",
        action="NOTED",
        alert_id=alert.alert_id,
        actor=SERVICE,
        comment=f"over since {alert.ends_at.isoformat(timespec='seconds')}",
        handled_at_ms=_ms(alert.ends_at),
    )


def slug(name: str) -> str:
    """An alert's name as a reason.

    >>> slug("SLOBurnRate"), slug("ServiceDown"), slug("model_stale")
    ('slo-burn-rate', 'service-down', 'model-stale')
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]|\d+", name)
    return "-".join(words).lower() or "unnamed"


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)
