"""Two hundred models and ten thousand runs: pages draw what is read, ask seldom, never keep the browser busy for long.

What is counted is independent of the machine: elements, questions, and how often the browser was held up, not seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import uvicorn
from playwright.async_api import Browser, expect

from millrace.console.service import ConsoleService, Options
from millrace.contracts.events import DeploymentDecided, Event, Traffic, TrainingRunChanged
from millrace.local.ports import HOST, PortBook
from millrace.telemetry.health import build_app
from tests.browser.scene import until
from tests.browser.screen import Screen
from tests.console.world import alerted, append, new_world
from tests.registry.lives import run
from tests.support import EPOCH_MS, World

MODELS, RUNS = 200, 10_000
ROWS_DRAWN = 50
ELEMENTS_MAX = 4_000  # a page of fifty rows has about 1,500
QUESTIONS_MAX = 12  # of a burst of events: what comes together is asked for together
HELD_UP_MAX = 25  # tasks above 50 ms while a page is opened, searched and hit by a burst; a busy machine has some
BURST = 300
NOBODY = {"ingest": "http://127.0.0.1:9"}  # discard: nobody answers, which the picture shows


def life(models: int, runs: int) -> Iterator[Event]:
    """Models that serve, each with its share of the runs."""
    for number in range(models):
        share = Traffic(variant="champion", version=1, share=1.0, artifact_sha256="0" * 64, feature_set="3f9a")
        yield DeploymentDecided(
            deployment_id=f"deployment/model-{number:03d}/1", model=f"model-{number:03d}", epoch=1, traffic=(share,),
            scoring_since_ms=EPOCH_MS, caused_by="test", reason="first model", decided_by="registry",
            decided_at_ms=EPOCH_MS + number,
        )  # fmt: skip
    for number in range(runs):
        yield a_run(number, models)


def a_run(number: int, models: int) -> TrainingRunChanged:
    """A run that ended well."""
    found = run(1, None).model_dump()
    own = {
        "run_id": f"run-{number}",
        "model": f"model-{number % models:03d}",
        "changed_at_ms": EPOCH_MS + 1000 * number,
    }
    return TrainingRunChanged.model_validate({**found, **own})


@dataclass(frozen=True, slots=True)
class Crowd:
    """A console with much in its log."""

    url: str
    world: World


@pytest.fixture(scope="module")
async def crowd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    """The console on the memory bus, and its pages on a port of this machine."""
    folder = tmp_path_factory.mktemp("crowd")
    world = await new_world(folder / "project")
    await append(world, life(MODELS, RUNS))
    context = world.context("console")
    service = ConsoleService(context, Options(data=folder, database=folder / "console.db", services=NOBODY))
    app = build_app("console", service.checks)
    service.add_routes(app)
    port = PortBook(folder / "ports.json").choose(["console"])["console"]
    server = uvicorn.Server(
        uvicorn.Config(app, host=HOST, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    work, serving = asyncio.create_task(service.run()), asyncio.create_task(server._serve())

    async def ready() -> bool:
        return server.started and service.follower.fault is None

    try:
        await until(ready, "the console has read the log")
        yield Crowd(f"http://{HOST}:{port}", world)
    finally:
        work.cancel()
        server.should_exit = True
        await asyncio.gather(work, serving, return_exceptions=True)
        await context.transport.close()


@pytest.fixture
async def screen(chromium: Browser, crowd: Crowd) -> AsyncIterator[Screen]:
    """A window on the crowded console."""
    async with Screen.opened(chromium, crowd.url) as screen:
        yield screen
        screen.has_no_error()


async def elements(screen: Screen) -> int:
    """How many elements the page has."""
    return int(await screen.page.evaluate("document.querySelectorAll('*').length"))


async def held_up(screen: Screen) -> int:
    """How often a task of the page took more than 50 ms."""
    return int(await screen.page.evaluate("window.longTasks.length"))


def questions(screen: Screen) -> int:
    """How often the page asked the API."""
    return sum("/api/" in url for url in screen.requests)


async def test_two_hundred_models_stay_smooth(screen: Screen, crowd: Crowd) -> None:
    """The overview draws fifty models, finds one among all, and takes a burst of events with a few questions."""
    await screen.go("/")
    await screen.shows("#models-note", f"{MODELS} of {MODELS}")
    await expect(screen.get("#models tbody tr")).to_have_count(ROWS_DRAWN)
    assert ELEMENTS_MAX > await elements(screen)
    await screen.get("#models-search").fill(f"model-{MODELS - 1}")
    await expect(screen.get("#models tbody tr")).to_have_count(1)
    await screen.get("#models-search").fill("")
    before = questions(screen)
    await append(crowd.world, (alerted(number, model="model-007") for number in range(BURST)))
    await screen.shows("#alerts li", f"{BURST} times")
    assert QUESTIONS_MAX > questions(screen) - before
    assert HELD_UP_MAX > await held_up(screen)


async def test_ten_thousand_runs_stay_smooth(screen: Screen, crowd: Crowd) -> None:
    """The page of runs holds the newest fifty; older ones come by the page, new ones without a reload."""
    await screen.go("/runs")
    await screen.shows("#runs-note", "10,000 runs")
    rows = screen.get("#runs tbody tr")
    await expect(rows).to_have_count(ROWS_DRAWN)
    assert ELEMENTS_MAX > await elements(screen)
    await screen.get("#runs-more button").click()
    await expect(rows).to_have_count(2 * ROWS_DRAWN)
    await screen.mark()
    await append(crowd.world, [a_run(RUNS, MODELS)])
    await screen.shows("#runs-note", "10,001 runs")
    await expect(rows).to_have_count(2 * ROWS_DRAWN + 1)
    assert await screen.is_same()
    assert HELD_UP_MAX > await held_up(screen)


async def test_a_filter_stands_in_the_address(screen: Screen) -> None:
    """A list that was filtered can be sent to somebody: its address says the filter."""
    await screen.go("/runs")
    await screen.page.get_by_label("Model").fill("model-042")
    await screen.shows("#runs-note", f"{RUNS // MODELS} runs")
    assert screen.page.url.endswith("/runs?model=model-042")
    await screen.go("/runs?model=model-042")
    await screen.shows("#runs-note", f"{RUNS // MODELS} runs")
