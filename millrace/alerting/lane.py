"""One route's way through the topic of alerts, as a lane of the exactly-once loop.

Each route has a consumer group and so a position of its own: the log is its queue. One that is dead stays where it is
and tries again with growing pauses, the others go on. A position moves only past what was delivered, refused or held
back, so a crash repeats at most the alert that was in hand, under the same key.

What was sent before a restart is found by reading the alerts of the last ``repeat_s`` again.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from millrace.alerting.ledger import Ledger
from millrace.alerting.route import Route, UnreachableError
from millrace.alerting.settings import AlertSettings
from millrace.bus.clock import Clock
from millrace.bus.consume import Step
from millrace.bus.retry import backoff_s
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.monitor_events import AlertHandled, AlertRaised
from millrace.contracts.topics import ALERT_ACTIONS, ALERTS
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import ALERT_DELIVERIES, ALERT_ROUTE_FAILING

log = get_logger(__name__)
TOPIC, ACTIONS = ALERTS.suffix, ALERT_ACTIONS.suffix
FIRST_LOOK_MS = 600_000  # a route that is new begins with the alerts of the last ten minutes, not with those of 90 days
WAITING_MAX = 1000
LOOK_S = 1.0  # how often a lane with nothing to do is asked
PAUSE_S = 1.0  # before the second try; each further pause doubles
PROMETHEUS = "prometheus"


class RouteLane:
    """Delivers the alerts of the log by one route. Called by ``Lanes``."""

    def __init__(self, route: Route, transport: Transport, codec: Codec, settings: AlertSettings, clock: Clock) -> None:
        self.failing: str | None = None
        self._route = route
        self._transport = transport
        self._codec = codec
        self._settings = settings
        self._clock = clock
        self._waiting: deque[tuple[Record, AlertRaised]] = deque()
        self._read_to = 0
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._ledger = Ledger(round(self._settings.repeat_s * 1000), round(self._settings.acknowledged_s * 1000))
        self._actions_at = 0
        self._tries = 0
        self._next_try_s = 0.0

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Read what was said and sent of late, and where to go on."""
        self._start_afresh()
        self._waiting.clear()
        now_ms = self._clock.now_ms()
        bounds = await self._transport.bounds(TOPIC, 0)
        position = committed.get(TOPIC)
        if position is None:
            position = await self._transport.offset_at(TOPIC, 0, now_ms - FIRST_LOOK_MS)
        elif position < bounds.begin:
            log.error("alerts are gone undelivered", route=self._route.name, offsets=bounds.begin - position)
        self._read_to = start = max(position, bounds.begin)
        await self._follow_actions()
        since = await self._transport.offset_at(TOPIC, 0, now_ms - round(self._settings.repeat_s * 1000))
        async for batch in self._transport.read(TOPIC, 0, max(since, bounds.begin), start):
            for record in batch:
                alert = await self._decoded(record)
                if alert is not None:
                    verdict = self._ledger.judge(alert, record.timestamp_ms, record.timestamp_ms)
                    self._ledger.settle(alert, verdict, record.timestamp_ms)
        ALERT_ROUTE_FAILING.labels(self._route.name).set(0)
        return {TOPIC: start}

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:  # noqa: ARG002  # the lane's
        """Deliver the next alert that waits, if it is time for a try."""
        for record in records:
            alert = await self._decoded(record)
            if alert is not None:
                self._waiting.append((record, alert))
            self._read_to = record.offset + 1
        # One in each step: a step is committed, so a crash repeats one at most.
        if self._waiting and self._clock.monotonic_s() >= self._next_try_s and await self._settled(*self._waiting[0]):
            self._waiting.popleft()
        position = self._waiting[0][0].offset if self._waiting else self._read_to
        paused = frozenset({TOPIC}) if len(self._waiting) >= WAITING_MAX else frozenset[str]()
        pause_s = max(0.0, self._next_try_s - self._clock.monotonic_s()) if self._waiting else LOOK_S
        return Step(positions={TOPIC: position}, paused=paused, wait_s=min(LOOK_S, pause_s))

    def written(self, offsets: Sequence[int]) -> None:
        """Nothing is written but positions."""

    async def close(self) -> None:
        """Nothing was begun beside."""

    async def _settled(self, record: Record, alert: AlertRaised) -> bool:
        """Whether nothing is left to do for this alert; False if its delivery failed and is to be tried again."""
        await self._follow_actions()
        verdict = self._ledger.judge(alert, record.timestamp_ms, self._clock.now_ms())
        outcome: str = verdict
        if verdict == "send":
            outcome = await self._try(alert)
        ALERT_DELIVERIES.labels(self._route.name, outcome).inc()
        if outcome == "failed":
            return False
        self._ledger.settle(alert, verdict, record.timestamp_ms)
        return True

    async def _try(self, alert: AlertRaised) -> str:
        """Deliver it once: ``delivered``, ``refused`` or ``failed``."""
        told = log.bind(route=self._route.name, alert=alert.alert_id)
        try:
            await self._route.deliver(self._ledger.notification(alert))
        except UnreachableError as error:
            self._tries += 1
            pause_s = backoff_s(self._tries, PAUSE_S, self._settings.longest_pause_s)
            self._next_try_s = self._clock.monotonic_s() + pause_s
            self.failing = f"{error}; next try in {pause_s:g} s, {len(self._waiting)} alerts wait"
            ALERT_ROUTE_FAILING.labels(self._route.name).set(1)
            told.error("alert not delivered", error=str(error), tries=self._tries, again_in_s=pause_s)
            return "failed"
        except Exception as error:  # noqa: BLE001  # RefusedError, or what a library makes of a strange alert: the next goes on
            told.error("alert refused", error=repr(error), severity=alert.severity, message=alert.message)
            self._works()
            return "refused"
        self._works()
        return "delivered"

    def _works(self) -> None:
        self._tries, self._next_try_s, self.failing = 0, 0.0, None
        ALERT_ROUTE_FAILING.labels(self._route.name).set(0)

    async def _decoded(self, record: Record) -> AlertRaised | None:
        """The alert; None for one that is not ours to send, or that cannot be read, which is told."""
        try:
            alert = await self._codec.decode(AlertRaised, record.value)
        except ContractError as error:
            log.error("alert unreadable", route=self._route.name, offset=record.offset, error=str(error))  # noqa: TRY400  # it says all
            ALERT_DELIVERIES.labels(self._route.name, "unreadable").inc()
            return None
        return alert if self._settings.prometheus or alert.service != PROMETHEUS else None

    async def _follow_actions(self) -> None:
        """Read what operators did since the last look."""
        begin, end = await self._transport.bounds(ACTIONS, 0)
        async for batch in self._transport.read(ACTIONS, 0, max(begin, self._actions_at), end):
            for record in batch:
                try:
                    self._ledger.handled(await self._codec.decode(AlertHandled, record.value))
                except ContractError as error:
                    log.error("alert action unreadable", offset=record.offset, error=str(error))  # noqa: TRY400  # it says all
        self._actions_at = max(end, self._actions_at)
