"""What happens is seen without loading the page again, and what a person is doing on it stays as it is."""

from playwright.async_api import Browser, expect

from millrace.contracts import topics
from millrace.contracts.events import AlertRaised, DriftDetected
from tests.browser.scene import MODEL, System
from tests.browser.screen import Screen

PROMISED_S = 2.0
PATIENCE = 5  # a busy machine, with a broker and seven processes on two cores, gets more than what is promised


def an_alert(number: int, now_ms: int) -> AlertRaised:
    """An alert that no service raises by itself."""
    return AlertRaised(
        alert_id=f"alert/browser-test/{number}", service="ingest", severity="WARNING", reason="browser-test",
        subject=f"subject-{number}", message=f"look at number {number}", raised_at_ms=now_ms, model=MODEL,
    )  # fmt: skip


def a_drift(now_ms: int) -> DriftDetected:
    """A finding about a feature, with its two distributions."""
    return DriftDetected(
        drift_id="drift/electricity/feature:transfer/0/77", model=MODEL, version=1, subject="feature:transfer",
        detector="KS", severity="WARNING", partition=0, sample_offset=77, event_id="nsw-77", time_ms=839_460_600_000,
        before=0.4, after=0.6, before_rows=1000, after_rows=500, parameters={"alpha": 0.001}, detected_at_ms=now_ms,
        compared_with="training", statistic=0.4, threshold=0.1, p_value=1e-9, bins=(0.0, 0.5, 1.0),
        before_counts=(700, 300), after_counts=(100, 400), message="transfer is unlike the training rows",
    )  # fmt: skip


async def test_an_alert_appears_where_somebody_looks(screen: Screen, system: System) -> None:
    """An alert reaches the open overview within two seconds: its list, the count in the navigation, what happened."""
    await screen.go("/")
    await screen.mark()
    began_s = system.log.clock.monotonic_s()
    await system.say(topics.ALERTS, an_alert(1, system.log.clock.now_ms()))
    await screen.shows("#alerts li", "look at number 1")
    took_s = system.log.clock.monotonic_s() - began_s
    await screen.shows("#latest li", "look at number 1")
    assert await screen.is_same()
    assert took_s < PROMISED_S * PATIENCE


async def test_a_drift_appears_in_the_timeline(screen: Screen, system: System) -> None:
    """A drift becomes a mark, and an entry of what moved; its evidence opens with both distributions."""
    await screen.go(f"/models/{MODEL}")
    await screen.mark()
    await system.say(topics.DRIFT_EVENTS, a_drift(system.log.clock.now_ms()))
    await screen.shows("#moved button", "transfer")
    await screen.get("#moved button", "transfer").click()
    await screen.shows("dialog.drawer", "the rows that the version was trained on")
    await expect(screen.get("dialog.drawer #distribution .bars .point")).to_have_count(4)
    assert await screen.is_same()


async def test_what_a_person_types_and_where_they_are_stays(screen: Screen, system: System) -> None:
    """An update in the middle of typing leaves focus, text, caret and scroll alone."""
    await screen.go("/")
    await screen.get("#models-search").fill("electri")
    await screen.page.evaluate("scrollTo(0, 120)")
    await system.say(topics.ALERTS, an_alert(2, system.log.clock.now_ms()))
    await screen.shows("#alerts li", "look at number 2")
    await expect(screen.get("#models-search")).to_be_focused()
    await expect(screen.get("#models-search")).to_have_value("electri")
    assert 120 == await screen.page.evaluate("scrollY")


async def test_a_cut_is_shown_and_mended(chromium: Browser, system: System) -> None:
    """While the console is down the page says that it reconnects; when it is back, it catches up by itself."""
    async with Screen.opened(chromium, system.url) as screen:
        await screen.go("/alerts")
        await screen.mark()
        system.kill_console()
        await expect(screen.get("#live")).to_have_text("Reconnecting", timeout=30_000)
        await system.say(topics.ALERTS, an_alert(3, system.log.clock.now_ms()))
        await expect(screen.get("#live")).to_have_text("Live", timeout=60_000)
        await screen.shows("#alerts li", "look at number 3")
        assert await screen.is_same()
