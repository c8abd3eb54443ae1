"""Each page, as it is looked at: it shows what there is, for everybody, at every width."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.scene import MODEL, System
from tests.browser.screen import PHONE, Screen

PAGES = {
    "/": "The loop",
    "/models": "All models",
    f"/models/{MODEL}": "Timeline",
    f"/models/{MODEL}/versions": "Rejected runs",
    f"/models/{MODEL}/runs": "Training runs",
    f"/models/{MODEL}/card/1": "What limits it",
    "/runs": "Training runs",
    "/dead-letters": "Letters",
    "/alerts": "Silences",
    "/audit": "Records",
    "/help": "Words",
}


async def _newest(system: System) -> dict[str, str]:
    """The pages of the newest drift and the newest run."""
    facts = await system.get(f"/api/models/{MODEL}")
    drift = facts["recent_drifts"][0]["drift_id"].replace("/", "%2F")
    run = facts["recent_runs"][0]["run_id"].replace("/", "%2F")
    return {f"/models/{MODEL}/drifts/{drift}": "How sure", f"/models/{MODEL}/runs/{run}": "Checks"}


async def test_there_are_pages_enough(system: System) -> None:
    """The guard counts what it guards: thirteen pages."""
    assert 13 == len({**PAGES, **await _newest(system)})


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_for_everybody(chromium: Browser, system: System, scheme: str) -> None:
    """No page has a serious violation of accessibility, in light and in dark, and none an error in the console."""
    async with Screen.opened(chromium, system.url, scheme=scheme) as screen:
        found = {}
        for path, words in {**PAGES, **await _newest(system)}.items():
            await screen.go(path)
            await screen.shows("h1, h2, h3", words)
            if violations := await screen.violations():
                found[path] = violations
        assert {} == found
        screen.has_no_error()


async def test_every_page_fits_a_phone(chromium: Browser, system: System) -> None:
    """At 320 px no page scrolls sideways: tables scroll in boxes of their own."""
    async with Screen.opened(chromium, system.url, size=PHONE) as screen:
        wide = {}
        for path in {**PAGES, **await _newest(system)}:
            await screen.go(path)
            if more := await screen.overflow():
                wide[path] = more
        assert {} == wide
        screen.has_no_error()


async def test_the_overview_shows_the_loop(screen: Screen) -> None:
    """Every service stands in the picture with its health, and the model below it with its champion."""
    await screen.go("/")
    for name in ("ingest", "serving", "monitor", "trainer", "registry"):
        await expect(screen.get(f'.node[aria-label^="{name}: ready"]')).to_be_visible()
    await screen.shows("#models tbody th", MODEL)
    await screen.get('.node[aria-label^="monitor"]').press("Enter")
    await screen.shows("dialog.drawer", "electricity-observations")
    await screen.page.keyboard.press("Escape")
    await expect(screen.get('.node[aria-label^="monitor"]')).to_be_focused()


async def test_a_drift_leads_to_its_evidence(screen: Screen) -> None:
    """From the list of marks a drift opens with what, since when, how sure, and two distributions."""
    await screen.go(f"/models/{MODEL}")
    await screen.get("summary", "The same as a list").click()
    await screen.get("details.marks button", "drift of").first.click()
    await screen.shows("dialog.drawer h3", "How sure")
    await expect(screen.get("dialog.drawer dt", "Before").first).to_be_visible()
    await screen.page.keyboard.press("Escape")
    await expect(screen.get("dialog")).to_have_count(0)


async def test_two_versions_stand_side_by_side(screen: Screen) -> None:
    """Two that are chosen are compared, figure by figure."""
    await screen.go(f"/models/{MODEL}")
    await screen.page.get_by_label("version 1", exact=True).check()
    await screen.page.get_by_label("version 2", exact=True).check()
    await screen.shows("#compare h2", "Version 1 beside version 2")
    await screen.shows("#compare th", "accuracy")


async def test_the_theme_is_a_choice_that_stays(screen: Screen) -> None:
    """What is chosen goes before what the system says, on the next page too."""
    await screen.go("/")
    await screen.get("#theme").select_option("dark")
    light = "getComputedStyle(document.body).backgroundColor"
    dark = await screen.page.evaluate(light)
    await screen.go("/alerts")
    assert dark == await screen.page.evaluate(light)
    assert "rgb(15, 20, 24)" == dark


async def test_the_keyboard_is_enough(screen: Screen) -> None:
    """Skip link, search by slash, pages by two keys, a dialog that Esc closes and that gives the focus back."""
    await screen.go("/")
    keys = screen.page.keyboard
    await keys.press("Tab")
    await expect(screen.get(".skip")).to_be_focused()
    await keys.press("Enter")
    await expect(screen.get("#main")).to_be_focused()
    await keys.press("/")
    await expect(screen.get("#models-search")).to_be_focused()
    await keys.type("nothing like it")
    await screen.shows("#models", "No such model")
    await keys.press("Escape")
    await screen.shows("#models", MODEL)
    await screen.get("h1").click()
    await keys.press("g")
    await keys.press("r")
    await screen.page.wait_for_url("**/runs")
    await screen.go(f"/models/{MODEL}")
    button = screen.get('[data-verb="retrain"]')
    await button.focus()
    await keys.press("Enter")
    await expect(screen.get("dialog.box")).to_be_visible()
    await keys.press("Escape")
    await expect(button).to_be_focused()


async def test_what_is_not_there_is_said(screen: Screen) -> None:
    """A model that nobody knows is answered with words, and a way out."""
    await screen.page.goto(f"{screen.url}/models/nobody")
    await screen.shows("[role=alert]", "no model")
    screen.errors.clear()  # the browser calls a 404 an error: this one was asked for
