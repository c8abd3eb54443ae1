"""The pictures of the console in the README and the docs: ``python -m tests.browser.screenshots [FOLDER]``.

The system of the tests is started; version 2 is approved, so that there is a whole turn of the loop to see.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from tests.browser.conftest import FLAGS
from tests.browser.scene import MODEL, System, running, until
from tests.browser.screen import Screen

DOCS = Path(__file__).parents[2] / "docs" / "images"
WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
SETTLED_MS = 1500  # charts are drawn, and the lines of the loop move
ROWS = (4700, 6000)
PAGE = f"/models/{MODEL}"


async def main(folder: Path) -> None:
    """Start the system, take every picture, stop."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium here: tests/apt.sh installs it on Debian")
    with tempfile.TemporaryDirectory(prefix="millrace-console-") as data:
        async with running(Path(data)) as system, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            await approve(system)
            rows = asyncio.create_task(system.publisher.send(system.file, *ROWS, 120))
            try:
                await take(browser, system, folder)
            finally:
                rows.cancel()
                await asyncio.gather(rows, return_exceptions=True)
                await browser.close()


async def approve(system: System) -> None:
    """Let version 2 answer."""
    body = {"model": MODEL, "version": 2, "space": "production", "actor": "ann", "reason": "it fits the new rows"}
    await system.post("/api/actions/approve", {**body, "request_id": "screenshots-approve-2"})

    async def answers() -> bool:
        return bool((await system.get(f"/api/models/{MODEL}"))["champion_version"] == 2)

    await until(answers, "version 2 answers")


async def take(browser: Browser, system: System, folder: Path) -> None:
    """Each picture in a window of its own."""
    async with Screen.opened(browser, system.url, size=WIDE, device_scale_factor=1.5) as screen:
        await screen.go("/")
        await shot(screen, folder, "overview")
        await screen.go(PAGE)
        await screen.get("#timeline-chart .plotly, #timeline-chart .main-svg").first.wait_for()
        await shot(screen, folder, "model")
        await screen.get("#moved button", "nswprice").first.click()
        await screen.get("#distribution .main-svg").first.wait_for()
        await shot(screen, folder, "evidence")
        await screen.page.keyboard.press("Escape")
        await screen.get('[data-verb="rollback"]').click()
        await screen.get("dialog .will").wait_for()
        await shot(screen, folder, "rollback")
        await screen.go(f"{PAGE}/versions?a=1&b=2")
        await screen.shows("#compare h2", "beside")
        await shot(screen, folder, "versions")
        await screen.go("/dead-letters")
        await shot(screen, folder, "dead-letters")
    async with Screen.opened(browser, system.url, scheme="dark", size=WIDE, device_scale_factor=1.5) as screen:
        await screen.go(PAGE)
        await screen.get("#timeline-chart .main-svg").first.wait_for()
        await shot(screen, folder, "dark")
    async with Screen.opened(browser, system.url, size=PHONE, device_scale_factor=2) as screen:
        await screen.go("/")
        await shot(screen, folder, "phone")


async def shot(screen: Screen, folder: Path, name: str) -> None:
    """One picture, when all has been drawn."""
    await screen.page.wait_for_timeout(SETTLED_MS)
    await screen.page.screenshot(path=folder / f"console-{name}.png")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS))
