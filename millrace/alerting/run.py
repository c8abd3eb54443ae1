"""Runs the routes that the settings name: what the console process starts.

async with asyncio.TaskGroup() as group:
    group.create_task(run(transport, codec, AlertSettings(), clock))
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from millrace.alerting.lane import TOPIC, RouteLane
from millrace.alerting.mail import Mail
from millrace.alerting.route import Route
from millrace.alerting.settings import AlertSettings
from millrace.alerting.webhook import Webhook
from millrace.bus.clock import Clock
from millrace.bus.consume import Lanes
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import run_together
from millrace.bus.transport import Transport
from millrace.contracts.codec import Codec
from millrace.contracts.errors import MillraceError
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import ALERT_ROUTE_FAILING

log = get_logger(__name__)
GROUP = "millrace-alerting"
AGAIN_S = 5.0
AGAIN_LONGEST_S = 60.0


def routes_of(settings: AlertSettings, clock: Clock) -> list[Route]:
    """The routes that have an address."""
    console = None if settings.console_url is None else str(settings.console_url)
    routes: list[Route] = []
    if settings.webhook_url is not None:
        secret = None if settings.webhook_secret is None else settings.webhook_secret.get_secret_value()
        routes.append(
            Webhook(
                str(settings.webhook_url), secret=secret, console_url=console, timeout_s=settings.timeout_s, clock=clock
            )
        )
    if settings.smtp_url is not None:
        assert settings.smtp_from is not None, "validated"
        routes.append(
            Mail(
                settings.smtp_url.get_secret_value(),
                settings.smtp_from,
                settings.smtp_to,
                console_url=console,
                timeout_s=settings.timeout_s,
            )
        )
    return routes


class Notifier:
    """Several routes, side by side, each with a consumer group of its own (``millrace-alerting-<route>``).

    Several processes may run the same routes: each alert is sent by one of them.
    """

    def __init__(
        self, transport: Transport, codec: Codec, settings: AlertSettings, clock: Clock, routes: Sequence[Route]
    ) -> None:
        self._transport = transport
        self._codec = codec
        self._settings = settings
        self._clock = clock
        self._routes = list(routes)
        self._lanes: dict[str, RouteLane] = {}
        self._stopped: dict[str, str] = {}

    @property
    def routes(self) -> list[str]:
        """The names of the routes."""
        return [route.name for route in self._routes]

    def trouble(self) -> dict[str, str | None]:
        """Each route's name with why it cannot deliver at the moment; None where it can, or was not tried yet."""
        lanes = self._lanes
        failing = {name: lanes[name].failing if name in lanes else None for name in self.routes}
        return {name: self._stopped.get(name, why) for name, why in failing.items()}

    async def run(self) -> None:
        """Work until cancelled. Without a route, that is to wait."""
        if not self._routes:
            log.info("alerts are sent nowhere", way_out="set MILLRACE_ALERT_WEBHOOK_URL or MILLRACE_ALERT_SMTP_URL")
            await asyncio.Event().wait()
        await run_together(*(self._keep(route) for route in self._routes))

    async def _keep(self, route: Route) -> None:
        """One route, begun again whatever ends it: what breaks one must break neither another nor the console."""
        failures = 0
        while True:
            lanes = Lanes(
                self._transport,
                service="alerting",
                group=f"{GROUP}-{route.name}",
                topics=[TOPIC],
                make_lane=partial(self._lane, route),
                max_records=100,
                ends=False,
            )
            try:
                await lanes.run()
            except MillraceError as error:
                failures += 1
                pause_s = backoff_s(failures, AGAIN_S, AGAIN_LONGEST_S)
                self._stopped[route.name] = str(error)
                ALERT_ROUTE_FAILING.labels(route.name).set(1)
                log.error("alert route stopped", route=route.name, error=str(error), again_in_s=pause_s)  # noqa: TRY400  # it says all
                await asyncio.sleep(pause_s)
                self._stopped.pop(route.name, None)

    def _lane(self, route: Route, _number: int) -> RouteLane:
        lane = RouteLane(route, self._transport, self._codec, self._settings, self._clock)
        self._lanes[route.name] = lane
        return lane


async def run(transport: Transport, codec: Codec, settings: AlertSettings, clock: Clock) -> None:
    """Deliver alerts by the routes that the settings name, until cancelled."""
    await Notifier(transport, codec, settings, clock, routes_of(settings, clock)).run()
