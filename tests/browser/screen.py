"""A window on the console as a person uses it: pages, dialogs, keys; and what the browser complained about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, expect

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 720}
SHOWN_MS = 30_000  # generous: the machine may be busy
BAD = {"serious", "critical"}

# Long tasks, and whether the page was loaded anew, are noted from the first moment on.
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: "longtask", buffered: true });
"""


class Screen:
    """One window. Everything that the browser's console calls an error is kept in ``errors``."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, browser: Browser, url: str, *, scheme: str = "light", size: dict[str, int] | None = None, **more: Any
    ) -> AsyncIterator[Self]:
        """A window of its own, with no memory of others."""
        context = await browser.new_context(color_scheme=scheme, viewport=size or WIDE, **more)
        context.set_default_timeout(SHOWN_MS)
        await context.add_init_script(WATCH)
        try:
            yield cls(await context.new_page(), url)
        finally:
            await context.close()

    async def go(self, path: str) -> None:
        """Open a page and wait until it is live and nothing in it is loading."""
        await self.page.goto(self.url + path)
        await expect(self.page.locator("#live")).to_have_text("Live", timeout=SHOWN_MS)
        await expect(self.page.locator("[aria-busy]")).to_have_count(0, timeout=SHOWN_MS)

    def get(self, selector: str, text: str | None = None) -> Locator:
        """What matches, with this text in it."""
        found = self.page.locator(selector)
        return found if text is None else found.filter(has_text=text)

    async def shows(self, selector: str, text: str) -> None:
        """Wait until something that matches holds the text."""
        await expect(self.get(selector, text).first).to_be_visible(timeout=SHOWN_MS)

    async def mark(self) -> None:
        """Remember that the page is this very one."""
        await self.page.evaluate("window.sameDocument = true")

    async def is_same(self) -> bool:
        """Whether the page was not loaded again since."""
        return bool(await self.page.evaluate("window.sameDocument === true"))

    async def confirm(self, why: str, who: str = "ann") -> str:
        """Read what the open dialog says, fill it in, send it; what the answer says."""
        dialog = self.get("dialog.box")
        await expect(dialog.locator(".will")).to_be_visible(timeout=SHOWN_MS)
        await dialog.get_by_label("Reason").fill(why)
        await dialog.get_by_label("Your name").fill(who)
        await dialog.locator("#do").click()
        await expect(dialog.locator("#finished")).to_be_focused(timeout=SHOWN_MS)
        answer = await dialog.locator(".answer").inner_text()
        await self.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        return answer

    async def violations(self) -> list[str]:
        """What axe finds that is serious or critical."""
        found = await Axe().run(self.page)
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
            for one in found.response["violations"]
            if one["impact"] in BAD
        ]

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def has_no_error(self) -> None:
        """Nothing was wrong in the browser's console."""
        assert [] == self.errors
