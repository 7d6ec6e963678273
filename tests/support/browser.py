"""Debian's Chromium, driven by Playwright; its own browsers are not downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser. As root, in a container, it cannot have its sandbox."""
    path = shutil.which("chromium")
    if path is None:
        raise RuntimeError("chromium is not installed: run make setup")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
