"""Which alerts still want somebody: what was raised, and what people did about it. The rules are those of the routes.

- Alerts of one service, reason and subject are one matter, shown as one group.
- A silence is over at its time, or when somebody ends it. What it leaves out is any.
- An acknowledgement holds for the alerts before it, and for repetitions of them for a while; not for the first
  CRITICAL one after it.
- What Prometheus raised is over when Prometheus says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.contracts.events import AlertHandled

OVER = "/over"  # ends the id of the remark by which an alert of Prometheus is over
Matter = tuple[str, str, str]


@dataclass(slots=True)
class Handled:
    """What people did, newest last, and which matter each alert id is about."""

    acknowledged: list[AlertHandled] = field(default_factory=list)
    silences: list[AlertHandled] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    matters: Mapping[str, Matter] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[AlertHandled], matters: Mapping[str, Matter]) -> "Handled":
        """From the handlings in the order of the log."""
        found = cls(matters=matters)
        for event in events:
            match event.action:
                case "ACKNOWLEDGED":
                    found.acknowledged.append(event)
                case "SILENCED":
                    found.silences.append(event)
                case "UNSILENCED":
                    found.silences = [one for one in found.silences if not _covers(event, one)]
                case "NOTED":
                    if event.alert_id is not None and event.handling_id.endswith(OVER):
                        found.over.add(event.alert_id)
        return found

    def in_force(self, now_ms: int) -> Iterator[AlertHandled]:
        """The silences that are not over."""
        return (one for one in self.silences if one.until_ms is None or now_ms < one.until_ms)

    def silence(self, matter: Matter, now_ms: int) -> AlertHandled | None:
        """The newest silence in force for a matter."""
        return next((one for one in reversed(list(self.in_force(now_ms))) if self._about(one, matter)), None)

    def acknowledgement(self, group: Mapping[str, Any], now_ms: int, holds_ms: int) -> AlertHandled | None:
        """The newest acknowledgement that still holds for a group."""
        critical_ms = group["critical_from_ms"]
        for one in reversed(self.acknowledged):
            lasts = one.handled_at_ms >= group["last_at_ms"] or now_ms < one.handled_at_ms + holds_ms
            worse = critical_ms is not None and critical_ms > one.handled_at_ms
            if lasts and not worse and self._about(one, matter_of(group)):
                return one
        return None

    def _about(self, handling: AlertHandled, matter: Matter) -> bool:
        if handling.alert_id is not None:
            return self.matters.get(handling.alert_id) == matter
        wanted = (handling.service, handling.reason, handling.subject)
        return all(want in (None, have) for want, have in zip(wanted, matter, strict=True))


def matter_of(group: Mapping[str, Any]) -> Matter:
    """What a group's alerts are about."""
    return group["service"], group["reason"], group["subject"]


def _covers(end: AlertHandled, silence: AlertHandled) -> bool:
    """Whether ``end`` ends this silence: what it names is the same, what it leaves out is any."""
    named = ("alert_id", "service", "reason", "subject")
    return all(getattr(end, name) in (None, getattr(silence, name)) for name in named)
