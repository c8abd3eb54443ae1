"""A real Chromium, and the system it looks at: both started once for all tests of this folder."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.scene import System, running
from tests.browser.screen import Screen

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("MILLRACE_TEST_CHROMIUM") or shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"]  # in a container there is no sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is for ``make test-browser``."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("browser")


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The Chromium that apt installs."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: tests/apt.sh installs it on Debian")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """The running system, told up to where version 2 waits for an approval."""
    async with running(tmp_path_factory.mktemp("browser")) as system:
        yield system


@pytest.fixture
async def screen(chromium: Browser, system: System) -> AsyncIterator[Screen]:
    """A window on the console; at the end, nothing may have been wrong in the browser's own console."""
    async with Screen.opened(chromium, system.url) as screen:
        yield screen
        screen.has_no_error()
