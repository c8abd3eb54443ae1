"""The pictures of docs/walk.md: ``python -m tests.browser.walk --console URL [--out FOLDER]``.

It walks through the console of a demo that has ended and stays up, as the page says, and rolls the newest version back.
"""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Locator, async_playwright

from tests.browser.conftest import FLAGS
from tests.browser.screen import Screen

DOCS = Path(__file__).parents[2] / "docs" / "images"
SIZE = {"width": 1280, "height": 800}
SETTLED_MS = 1500  # charts are drawn
MODEL = "electricity"


async def main(url: str, folder: Path) -> None:
    """Open a browser and walk."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no chromium here: tests/apt.sh installs it on Debian")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        async with Screen.opened(browser, url.rstrip("/"), size=SIZE) as screen:
            await walk(screen, folder)
        await browser.close()


async def walk(screen: Screen, folder: Path) -> None:
    """The steps, a picture each."""
    await screen.go("/")
    await shot(screen, folder, 1, screen.get("#models"))
    await screen.get("#models tbody a", MODEL).click()
    await screen.get("#timeline-chart .main-svg").first.wait_for()
    await shot(screen, folder, 2)
    await screen.get("#why .chain").wait_for()
    await shot(screen, folder, 3, screen.get("#why-title"))
    await screen.get("#why [data-features] button").first.click()
    await screen.get("dialog #distribution .main-svg").first.wait_for()
    await shot(screen, folder, 4)
    await screen.page.keyboard.press("Escape")
    await screen.get('[data-verb="rollback"]').click()
    await screen.get("dialog .will").wait_for()
    dialog = screen.get("dialog.box")
    await dialog.get_by_label("Reason").fill("a walk through the console")
    await dialog.get_by_label("Your name").fill("ann")
    await shot(screen, folder, 5)
    await dialog.locator("#do").click()
    await dialog.locator("#finished").wait_for()
    await screen.page.keyboard.press("Escape")
    await screen.shows("#why .lead", "a walk through the console")
    await shot(screen, folder, 6, screen.get("#why-title"))
    await screen.get("#audit-link").click()
    await screen.shows("#audit tbody tr", "a walk through the console")
    await shot(screen, folder, 7)


async def shot(screen: Screen, folder: Path, number: int, top: Locator | None = None) -> None:
    """One picture, with this at the upper edge of the window."""
    if top is not None:
        await top.evaluate("element => { element.scrollIntoView(); scrollBy(0, -90); }")
    await screen.page.wait_for_timeout(SETTLED_MS)
    await screen.page.screenshot(path=folder / f"walk-{number}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--console", required=True, help="the console's address, as the demo prints it")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the pictures go")
    given = parser.parse_args()
    asyncio.run(main(given.console, given.out))
