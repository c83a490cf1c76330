"""A studio of its own for each test that needs one: the application without a socket, or a real process with a real browser."""

import importlib.resources
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from duomo.studio.app import Studio, create
from duomo.studio.guard import Guard

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), "")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
TOKEN = "a-token"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "DUOMO_LANG": "en"}
SCREENSHOTS = Path(__file__).parents[2] / ".bench" / "screenshots"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    yield made
    for name in made.jobs.names():
        made.jobs.stop(name)
    made.close()


@pytest.fixture
def client(studio: Studio) -> TestClient:
    """Asks as the page would."""
    return TestClient(Guard(create(studio), TOKEN), base_url=f"http://127.0.0.1:8600/{TOKEN}/", raise_server_exceptions=False)


class Window:
    """A browser on a studio process; whatever goes wrong in the page or leaves the machine is kept."""

    def __init__(self, browser: Any, address: str, folder: Path):
        self.browser, self.address, self.folder = browser, address, folder
        self.wrong: list[str] = []

    def page(self, **facts: Any) -> Any:
        context = self.browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 860}} | facts)
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url.startswith((self.address, "data:", "blob:")) else self.wrong.append(asked.url))
        page.goto(self.address)
        return page

    def shot(self, page: Any, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SCREENSHOTS / f"{name}.png"), full_page=True)

    def faults(self, page: Any) -> list[str]:
        """Serious and critical findings of axe-core on the page as it stands."""
        page.evaluate(importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        found = page.evaluate("axe.run().then((found) => found.violations)")
        return [f"{one['id']} {node['html'][:120]}" for one in found if one["impact"] in ("serious", "critical") for node in one["nodes"]]


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: the studio's page is not driven (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("studio")
    words = [sys.executable, "-m", "duomo.cli", "studio", str(folder), "--no-open"]
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = next(found.group() for line in process.stderr if (found := re.search(r"http://127\S+/", line)))
    with playwright.sync_playwright() as drive:
        browser = drive.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Window(browser, address, folder)
        browser.close()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
