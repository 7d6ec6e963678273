"""Draws docs/images/dashboard.png, `tramo dashboard` over three hours of a shop. `make screenshot` runs it."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from infra.cli.dashboard import sections
from infra.dashboards.reader import Reader
from infra.dashboards.server import DashboardServer
from tests.support.browser import chromium
from tests.support.control_plane.mesh_metrics import cloudwatch, last_minutes, put, shop

IMAGE: Final = Path(__file__).parents[2] / "docs" / "images" / "dashboard.png"
MINUTES: Final = 180
NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""Fixed, so that the picture changes only when the page does."""


def main() -> int:
    """Write the image, or to the path that is given."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGE
    scheme = "dark" if "dark" in path.name else "light"
    with cloudwatch("us-east-1") as (_, client), chromium() as browser:
        put(client, list(shop(last_minutes(NOW, MINUTES))))
        reader = Reader(client, sections(), "us-east-1", clock=lambda: NOW)
        with DashboardServer(reader, 0, MINUTES) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page = browser.new_page(viewport={"width": 1280, "height": 980}, color_scheme=scheme, timezone_id="UTC")  # type: ignore[arg-type]
            page.goto(f"http://127.0.0.1:{server.server_port}/?")
            page.wait_for_selector("#state.good")
            page.select_option("#service", "orders")
            page.wait_for_selector("tr.chosen:has-text('orders')")
            path.parent.mkdir(exist_ok=True)
            page.screenshot(path=path, full_page="full" in path.name)
            server.shutdown()
    print(f"{path}: {path.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
