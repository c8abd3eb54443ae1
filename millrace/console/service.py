"""The console as a process: follows the log, looks at the services, answers pages; put together in one place."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from millrace.alerting.run import Notifier, routes_of
from millrace.alerting.settings import AlertSettings
from millrace.bus.context import Context
from millrace.bus.tasks import InThread, run_together
from millrace.console import actions, alert_actions, api, files, letter_actions, pages, reports
from millrace.console.answers import HANDLERS, Answer
from millrace.console.asker import Asker
from millrace.console.database import Database
from millrace.console.decisions import Decisions
from millrace.console.feed import Feed
from millrace.console.flow import Pulse
from millrace.console.follow import Follower
from millrace.console.guard import Guard, names_of
from millrace.console.http import Fetch, fetch
from millrace.console.overview import Overview
from millrace.console.settings import Settings
from millrace.console.watch import Seen, Target, Watcher
from millrace.contracts.project import Project, load_project
from millrace.local.runfile import running
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.lake import Lake
from services.ingest.settings import Settings as IngestSettings
from services.ingest.wiring import lake_of
from services.registry.commands import Log


@dataclass(frozen=True)
class Options:
    """What the console is told. ``services`` are base addresses by name; none means those of the data folder's run."""

    data: Path
    database: Path
    services: Mapping[str, str] = field(default_factory=dict)
    registry_url: str | None = None
    projects: tuple[Project, ...] = ()
    lakes: Mapping[str, Lake] = field(default_factory=dict)
    artifacts: ArtifactStore | None = None
    names: frozenset[str] | None = None
    token: str | None = None
    actor: str = "operator"
    alerts: AlertSettings | None = None
    answer_s: float = actions.ANSWER_S

    @classmethod
    def of(cls, settings: Settings) -> "Options":
        """As the settings say."""
        projects = tuple(load_project(folder) for folder in (settings.project, *settings.console_projects))
        shared = settings.model_dump(include=set(IngestSettings.model_fields) & set(Settings.model_fields))
        ingest = IngestSettings(**{name: value for name, value in shared.items() if value is not None})
        found = {project.model: lake_of(ingest, project) for project in projects}
        return cls(
            data=settings.data,
            database=settings.database,
            services=settings.console_services,
            registry_url=settings.console_registry_url,
            projects=projects,
            lakes={model: lake for model, lake in found.items() if lake is not None},
            artifacts=ArtifactStore(settings.artifacts or settings.data / "artifacts", settings.artifact_key),
            names=names_of(settings.http_host, settings.console_names),
            token=settings.token,
            actor=settings.console_actor,
            alerts=AlertSettings(),
        )


class ConsoleService:
    """The console of one platform.

    Args:
        context: project, transport, codec, clock and the name of this process.
        options: what the settings say.
        fetch: how the services are asked.
        in_thread: how blocking calls are made.
    """

    def __init__(
        self, context: Context, options: Options, *, fetch: Fetch = fetch, in_thread: InThread = asyncio.to_thread
    ) -> None:
        self._context = context
        self._options = options
        self._fetch = fetch
        projects = {project.model: project for project in (context.project, *options.projects)}
        self._projects = projects
        self.database = Database(options.database)
        self._decisions = Decisions(projects)
        self._began_ms = context.clock.now_ms()
        self.feed = Feed(self._began_ms)
        self._pulse = Pulse()
        self.follower = Follower(
            context, self.database, self._decisions, self.feed, self._pulse, tuple(projects.values()), in_thread
        )
        self.watcher = Watcher(self._targets, fetch, context.clock, self._looked)
        self._ask = Asker(self.database, in_thread)
        self._overview = Overview(tuple(projects.values()), self.watcher, self._pulse)
        self._ticks: set[asyncio.Task[None]] = set()
        self._notifier = self._make_notifier()

    async def run(self) -> None:
        """Work until cancelled. Whoever listens is let go."""
        work = [self.follower.run(), self.watcher.run()]
        if self._notifier is not None:
            work.append(self._notifier.run())
        try:
            await run_together(*work)
        finally:
            self.feed.close()
            for task in self._ticks:
                task.cancel()
            await asyncio.gather(*self._ticks, return_exceptions=True)
            self.database.close()

    def checks(self) -> Mapping[str, str | None]:
        """Ready when the log has been read. A route that cannot deliver is told by its metric, not here: pages work."""
        return {"view": self.follower.fault}

    def add_routes(self, app: FastAPI) -> None:
        """The API and the pages, and who may ask for them."""
        context, ask = self._context, self._ask
        log = Log(context.transport, context.codec, context.clock)
        app.add_middleware(Guard, names=self._options.names, token=self._options.token)
        for kind, handler in HANDLERS.items():
            app.add_exception_handler(kind, handler)
        self._add_session(app)
        api.add_overview(app, ask, self._overview, self.feed, context.clock, lambda: self.follower.fault)
        api.add_models(app, ask, self._decisions, context.clock)
        api.add_drifts(app, ask)
        store = self._options.artifacts or ArtifactStore(self._options.data / "artifacts")
        api.add_runs(app, ask, reports.Records(store))
        registry = reports.Registry(self._options.registry_url, self.watcher, self._fetch)
        reports.add_registry_routes(app, registry)
        kept = self._options.data / "reports"
        reports.add_report_routes(app, reports.Reports(context, self._projects, self._options.lakes, kept))
        letter_actions.add_routes(app, ask, log, {project.stream: project for project in self._projects.values()})
        alert_actions.add_routes(app, ask, log)
        actions.add_routes(app, ask, self._decisions, log, answer_s=self._options.answer_s)
        api.add_not_found(app)
        served = files.Files()
        files.add_routes(app, served)
        pages.add_routes(app, pages.Pages(served))

    def _add_session(self, app: FastAPI) -> None:
        options, projects = self._options, self._projects

        @app.get("/api/session", tags=["overview"])
        async def session() -> Answer:
            """Who the pages speak for, and whether a token is asked for. The one call that needs none."""
            own: dict[str, Any] = {"product": "Millrace", "token_required": options.token is not None}
            shown = [{"model": project.model, "stream": project.stream} for project in projects.values()]
            return Answer({**own, "actor": options.actor, "projects": shown, "started_at_ms": self._began_ms})

    def _make_notifier(self) -> Notifier | None:
        context, settings = self._context, self._options.alerts
        if settings is None:
            return None
        routes = routes_of(settings, context.clock)
        return Notifier(context.transport, context.codec, settings, context.clock, routes)

    def _targets(self) -> Mapping[str, Target]:
        """Where the services are, and how often they were started again, if a platform here says so."""
        info = running(self._options.data)
        known = {} if info is None else info.services
        found = {name: Target(one.url, one.restarts) for name, one in known.items() if name != "console"}
        if not self._options.services:
            return found
        return {
            name: Target(url.rstrip("/"), found[name].restarts if name in found else None)
            for name, url in self._options.services.items()
        }

    def _looked(self, changed: list[Seen]) -> None:
        """The services were looked at: tell whose state has changed, and how things are."""
        self.feed.add(
            {**seen.to_json(), "kind": "services", "topic": None, "model": None, "id": seen.service,
             "at_ms": self._context.clock.now_ms(), "summary": f"{seen.service} is {seen.state.replace('_', ' ')}"}
            for seen in changed
        )  # fmt: skip
        if self.feed.listeners and self.follower.fault is None and not self._ticks:
            task = asyncio.create_task(self._tick())
            self._ticks.add(task)
            task.add_done_callback(self._ticks.discard)

    async def _tick(self) -> None:
        clock = self._context.clock
        found = await self._ask(self._overview.live, clock.now_ms(), clock.monotonic_s())
        self.feed.tick("tick", {"kind": "tick", **found})
