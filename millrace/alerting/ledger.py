"""What was sent of which alerts, and what people said about them. Pure: decides whether an alert is to be sent.

Rules
- Alerts of one service, reason and subject are one matter. Its first alert is sent at once; further ones are held back
  for a while after the last that was sent, and counted. The next that is sent tells how many there were.
- CRITICAL is never held back behind a WARNING: neither by repetition nor by an acknowledgement.
- An acknowledged matter is not sent again for a while. A silenced alert is not sent at all.
- The same alert id is the same alert, however often it stands on the log.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from millrace.contracts.monitor_events import AlertHandled, AlertRaised

IDS_MAX = 10_000  # alert ids that are remembered; also how many matters
Verdict = Literal["send", "repeated", "silenced", "acknowledged"]


class Matter(NamedTuple):
    """What an alert is about."""

    service: str
    reason: str
    subject: str


@dataclass(frozen=True, slots=True)
class Notification:
    """What is delivered: an alert, and how many of the same matter were held back since ``since_ms``."""

    alert: AlertRaised
    held_back: int = 0
    since_ms: int | None = None

    @property
    def key(self) -> str:
        """The same for each delivery of the same alert: by it a receiver knows a repetition."""
        return self.alert.alert_id


@dataclass(slots=True)
class _Sent:
    """The last that was sent of a matter."""

    at_ms: int
    critical: bool
    held_back: int = 0


@dataclass(slots=True)
class Ledger:
    """Remembers and decides. Times are log times in milliseconds.

    Attributes:
        repeat_ms: for how long after a sending the same matter is held back.
        acknowledged_ms: for how long an acknowledgement holds it back.
    """

    repeat_ms: int
    acknowledged_ms: int
    _sent: OrderedDict[Matter, _Sent] = field(default_factory=OrderedDict)
    _ids: OrderedDict[str, Matter] = field(default_factory=OrderedDict)
    _silences: list[AlertHandled] = field(default_factory=list)
    _acknowledged: list[AlertHandled] = field(default_factory=list)

    def handled(self, event: AlertHandled) -> None:
        """An operator acknowledged, silenced or ended a silence."""
        match event.action:
            case "SILENCED":
                self._silences.append(event)
            case "UNSILENCED":
                self._silences = [silence for silence in self._silences if not _covers(event, silence)]
            case "ACKNOWLEDGED":
                self._acknowledged.append(event)
            case "NOTED":
                pass

    def judge(self, alert: AlertRaised, at_ms: int, now_ms: int) -> Verdict:
        """Whether the alert that was written at ``at_ms`` is to be sent now."""
        matter = matter_of(alert)
        if alert.alert_id in self._ids:
            return "repeated"
        if any(self._silenced(silence, alert, at_ms, now_ms) for silence in self._silences):
            return "silenced"
        last = self._sent.get(matter)
        critical = alert.severity == "CRITICAL"
        if last is not None and critical and not last.critical:
            return "send"
        if any(self._known(ack, alert, now_ms) for ack in self._acknowledged):
            return "acknowledged"
        return "repeated" if last is not None and at_ms < last.at_ms + self.repeat_ms else "send"

    def notification(self, alert: AlertRaised) -> Notification:
        """What to deliver for an alert that is to be sent."""
        last = self._sent.get(matter_of(alert))
        if last is None or not last.held_back:
            return Notification(alert)
        return Notification(alert, last.held_back, last.at_ms)

    def settle(self, alert: AlertRaised, verdict: Verdict, at_ms: int) -> None:
        """What was decided has been done."""
        matter = matter_of(alert)
        if verdict == "send":
            self._sent[matter] = _Sent(at_ms, alert.severity == "CRITICAL")
            self._sent.move_to_end(matter)
        elif matter in self._sent and alert.alert_id not in self._ids:
            self._sent[matter].held_back += 1
        self._ids[alert.alert_id] = matter
        for known in (self._sent, self._ids):
            while len(known) > IDS_MAX:
                known.popitem(last=False)

    def _silenced(self, silence: AlertHandled, alert: AlertRaised, at_ms: int, now_ms: int) -> bool:
        """By a silence in force now, or one that was in force when the alert was raised."""
        until_ms = silence.until_ms if silence.until_ms is not None else now_ms + 1
        in_force = silence.handled_at_ms <= at_ms < until_ms or now_ms < until_ms
        return in_force and self._about(silence, alert)

    def _known(self, ack: AlertHandled, alert: AlertRaised, now_ms: int) -> bool:
        return now_ms < ack.handled_at_ms + self.acknowledged_ms and self._about(ack, alert)

    def _about(self, handling: AlertHandled, alert: AlertRaised) -> bool:
        """Whether the handling means this alert, or one of its matter."""
        if handling.alert_id is not None:
            same = self._ids.get(handling.alert_id) == matter_of(alert)
            return same or handling.alert_id == alert.alert_id
        wanted = (handling.service, handling.reason, handling.subject)
        return all(want in (None, have) for want, have in zip(wanted, matter_of(alert), strict=True))


def matter_of(alert: AlertRaised) -> Matter:
    """By what alerts belong together."""
    return Matter(alert.service, alert.reason, alert.subject)


def _covers(end: AlertHandled, silence: AlertHandled) -> bool:
    """Whether ending ``end`` ends this silence: what it names is the same, what it leaves out is any."""
    named = ("alert_id", "service", "reason", "subject")
    return all(getattr(end, name) in (None, getattr(silence, name)) for name in named)
