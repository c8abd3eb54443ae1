"""Every action, end to end, in the order in which an operator meets them: each test goes on where one ended."""

from playwright.async_api import expect

from millrace.contracts import topics
from tests.browser.scene import MODEL, System, until
from tests.browser.screen import Screen
from tests.browser.test_live import an_alert

PAGE = f"/models/{MODEL}"


async def champion(screen: Screen, version: int) -> None:
    """Wait until the page says which version is champion, without loading it again."""
    await screen.shows(".figure", f"version {version}")
    await screen.shows("#why .lead", f"Version {version}")


async def test_a_version_is_approved(screen: Screen) -> None:
    """What waits stands on the overview; approving it says what will happen, then makes it the champion."""
    await screen.go("/")
    await screen.shows(".waiting", "version 2 waits for approval")
    await screen.get(".waiting button", "Approve").click()
    await screen.shows("dialog .will li", "")
    answer = await screen.confirm("it fits the new rows", who="berta")
    assert "Done" in answer
    await expect(screen.get(".waiting")).to_have_count(0)
    await screen.go(PAGE)
    await champion(screen, 2)


async def test_the_drift_explains_the_champion(screen: Screen) -> None:
    """The chain of causes leads from the drift over the run to the deployment, and its drift can be opened."""
    await screen.go(PAGE)
    chain = screen.get("#why .chain")
    await expect(chain).to_contain_text("error of version 1 rose")
    await expect(chain).to_contain_text("berta")
    await screen.get("#why .chain a", "Training run").click()
    await screen.shows("#run h2", "Checks")


async def test_a_champion_is_rolled_back(screen: Screen) -> None:
    """A rollback warns, names both versions, and the page shows its effect and the audit its reason."""
    await screen.go(PAGE)
    await screen.mark()
    await screen.get('[data-verb="rollback"]').click()
    await screen.shows("dialog .will.warn", "What it will do")
    assert "Done" in await screen.confirm("worse at night")
    await champion(screen, 1)
    assert await screen.is_same()
    await screen.go("/audit")
    await screen.shows("#audit tbody tr", "worse at night")


async def test_a_version_is_promoted(screen: Screen) -> None:
    """Promoting it again brings version 2 back."""
    await screen.go(PAGE)
    await screen.page.get_by_role("button", name="Promote: version 2").click()
    assert "Done" in await screen.confirm("the night is over")
    await champion(screen, 2)


async def test_a_model_is_frozen_and_unfrozen(screen: Screen) -> None:
    """Freezing shows who did it and why, until it is lifted."""
    await screen.go(PAGE)
    await screen.get('[data-verb="freeze"]').click()
    assert "Done" in await screen.confirm("holidays")
    await screen.shows("#head .badge", "frozen")
    await screen.shows("#head", "Frozen by ann")
    await screen.get('[data-verb="unfreeze"]').click()
    assert "Done" in await screen.confirm("back again")
    await expect(screen.get("#head .badge", "frozen")).to_have_count(0)


async def test_a_refusal_is_shown_in_the_registrys_words(screen: Screen, system: System) -> None:
    """An action decided on what is no longer true is refused, and the dialog says so; nothing is changed."""
    await screen.go(PAGE)
    await screen.get('[data-verb="rollback"]').click()
    await expect(screen.get("dialog .will")).to_be_visible()
    body = {"model": MODEL, "actor": "carl", "reason": "quicker", "request_id": "browser-quicker"}
    await system.post("/api/actions/rollback", {**body, "version": 1})
    answer = await screen.confirm("too late")
    assert "Refused" in answer
    await champion(screen, 1)


async def test_a_retrain_is_asked_for(screen: Screen, system: System) -> None:
    """A retrain becomes a run that is seen to appear on the page of runs, and can be opened."""
    await screen.go(PAGE)
    await screen.get('[data-verb="retrain"]').click()
    assert "Done" in await screen.confirm("to see whether it helps")
    await screen.go(f"{PAGE}/runs")
    await screen.shows("#runs tbody th", "operator")
    await screen.get("#runs tbody th a", "operator").first.click()
    await screen.shows("#checks-title", "Checks")
    await screen.shows("#run tbody .badge", "passed")


async def test_an_alert_is_acknowledged(screen: Screen, system: System) -> None:
    """An acknowledged alert leaves the open ones, and says who looks at it."""
    await system.say(topics.ALERTS, an_alert(11, system.log.clock.now_ms()))
    await screen.go("/alerts")
    one = screen.get("#alerts li", "subject-11")
    await one.get_by_role("button", name="Acknowledge").click()
    assert "Done" in await screen.confirm("on it")
    await expect(one).to_have_count(0)
    await screen.get("#alerts-tools button", "acknowledged").click()
    await screen.shows("#alerts li", "acknowledged by ann")


async def test_alerts_are_silenced(screen: Screen, system: System) -> None:
    """A silence takes its alerts from the open ones and stands on the page, until it is ended."""
    await system.say(topics.ALERTS, an_alert(12, system.log.clock.now_ms()))
    await screen.go("/alerts")
    one = screen.get("#alerts > ul > li", "subject-12")
    await one.get_by_role("button", name="Silence").click()
    assert "Done" in await screen.confirm("known, until Monday")
    await expect(one).to_have_count(0)
    silence = screen.get("#silences li", "subject-12")
    await silence.get_by_role("button", name="End").click()
    assert "Done" in await screen.confirm("Monday")
    await expect(silence).to_have_count(0)
    await expect(one).to_be_visible()


async def test_a_dead_letter_is_shown_and_replayed(screen: Screen, system: System) -> None:
    """A letter says why it was refused and what it holds; sent back, it is refused again, and nothing is lost."""
    before = (await system.get("/api/dead-letters"))["total"]
    await screen.go("/dead-letters")
    await screen.page.get_by_role("button", name="Show letter 0/0").click()
    await screen.shows("dialog.drawer", "nswprice")
    await screen.shows("dialog.drawer pre", "bad-0")
    await screen.page.keyboard.press("Escape")
    await screen.page.get_by_role("button", name="Replay letter 0/0").click()
    assert "Done" in await screen.confirm("the range is wider now")

    async def is_back() -> bool:
        return bool((await system.get("/api/dead-letters"))["total"] == before + 1)

    await until(is_back, "it is refused again", 30)
    await screen.shows("#letters-note", f"{before + 1} letters")
