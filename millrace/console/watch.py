"""Looks at the services every two seconds: are they ready, how far behind, how busy."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from millrace.bus.clock import Clock
from millrace.bus.tasks import run_together
from millrace.console.flow import Counted
from millrace.console.http import NO_HEADERS, TIMEOUT_S, Fetch
from millrace.local.probe import failing_checks
from millrace.telemetry.scrape import Figures, figures

EVERY_S = 2.0
State = Literal["ready", "not_ready", "down", "unknown"]


class Target(NamedTuple):
    """Where a service answers; ``restarts`` is what its supervisor counted, None where nobody says."""

    url: str
    restarts: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last seen of a service. ``rates`` are records a second and in all, by direction and topic."""

    service: str
    url: str
    state: State = "unknown"
    failing: tuple[tuple[str, str], ...] = ()
    since_ms: int | None = None
    seen_at_ms: int | None = None
    seen_s: float = 0.0
    restarts: int = 0
    figures: Figures = field(default_factory=Figures)
    cpu_ratio: float | None = None
    rates: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As the overview shows it."""
        now, started = self.figures, self.figures.started_at_s
        is_known = started is not None and self.seen_at_ms is not None
        return {
            "service": self.service,
            "url": self.url,
            "state": self.state,
            "failing": [{"check": check, "why": why} for check, why in self.failing],
            "since_ms": self.since_ms,
            "seen_at_ms": self.seen_at_ms,
            "lag_records": now.lag_records,
            "hidden_records": now.hidden_records,
            "restarts": self.restarts,
            "cpu_ratio": self.cpu_ratio,
            "memory_bytes": now.memory_bytes,
            "records_in_per_s": self._rate("in"),
            "records_out_per_s": self._rate("out"),
            "uptime_s": self.seen_at_ms / 1000 - started if is_known and self.seen_at_ms and started else None,
        }

    def _rate(self, direction: str) -> float | None:
        rates = [rate for (way, _), (rate, _) in self.rates.items() if way == direction]
        return sum(rates) if rates else None


class Watcher:
    """Asks each service, again and again.

    Args:
        targets: where they are; asked each time, because a platform may start after the console.
        fetch: how an address is asked.
        clock: time.
        told: called after each look, with the services whose state has changed.
    """

    def __init__(
        self, targets: Callable[[], Mapping[str, Target]], fetch: Fetch, clock: Clock,
        told: Callable[[list[Seen]], None],
    ) -> None:  # fmt: skip
        self._targets = targets
        self._fetch = fetch
        self._clock = clock
        self._told = told
        self.seen: dict[str, Seen] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask all of them once, side by side."""
        targets = await asyncio.to_thread(self._targets)
        before = self.seen
        self.seen = {name: before.get(name, Seen(name, target.url)) for name, target in targets.items()}
        if targets:
            await run_together(*(self._ask(name, target) for name, target in targets.items()))
        self._told([now for name, now in self.seen.items() if name not in before or before[name].state != now.state])

    def counted(self) -> Counted:
        """What goes in and out of the services: records a second, and in all."""
        return {(name, *key): rate for name, seen in self.seen.items() for key, rate in seen.rates.items()}

    async def _ask(self, name: str, target: Target) -> None:
        before, now_ms = self.seen[name], self._clock.now_ms()
        try:
            ready = await self._fetch(f"{target.url}/readyz", TIMEOUT_S, NO_HEADERS)
            metrics = await self._fetch(f"{target.url}/metrics", TIMEOUT_S, NO_HEADERS)
        except OSError as error:
            self.seen[name] = _changed(
                replace(before, url=target.url, cpu_ratio=None, rates={}, figures=Figures()),
                "down", {"http": str(error) or type(error).__name__}, now_ms,
            )  # fmt: skip
            return
        state: State = "ready" if ready.status == HTTPStatus.OK else "not_ready"
        failing = {} if state == "ready" else failing_checks(ready.status, ready.body)
        now = _changed(replace(before, url=target.url, seen_at_ms=now_ms), state, failing, now_ms)
        seen = figures(metrics.body.decode(errors="replace")) if metrics.status == HTTPStatus.OK else Figures()
        self.seen[name] = self._measured(now, before, seen, target.restarts)

    def _measured(self, now: Seen, before: Seen, seen: Figures, restarts: int | None) -> Seen:
        now_s, earlier = self._clock.monotonic_s(), before.figures
        took_s = now_s - before.seen_s
        is_same = seen.started_at_s == earlier.started_at_s and took_s > 0
        if restarts is None:
            begun_anew = None not in {seen.started_at_s, earlier.started_at_s} and not is_same
            restarts = before.restarts + begun_anew
        cpu = None
        if is_same and seen.cpu_s is not None and earlier.cpu_s is not None:
            cpu = max(0.0, (seen.cpu_s - earlier.cpu_s) / took_s)
        rates = {
            key: (max(0.0, total - earlier.records.get(key, 0.0)) / took_s if is_same else 0.0, total)
            for key, total in seen.records.items()
        }
        return replace(now, seen_s=now_s, figures=seen, cpu_ratio=cpu, rates=rates, restarts=restarts)


def _changed(seen: Seen, state: State, failing: Mapping[str, str], now_ms: int) -> Seen:
    since_ms = seen.since_ms if seen.state == state and seen.since_ms is not None else now_ms
    return replace(seen, state=state, failing=tuple(failing.items()), since_ms=since_ms)
