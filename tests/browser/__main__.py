"""Draws the pictures of docs/images: the console over an hour of a shop, well and failing (`make screenshot`)."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from infra.cli.console import sections
from infra.console.metrics import MetricReader
from infra.console.reader import Console
from infra.console.registry import RegistryReader
from infra.console.server import ConsoleServer
from tests.support.browser import chromium
from tests.support.control_plane.fake_cloudwatch import FakeCloudWatch
from tests.support.control_plane.mesh_metrics import last_minutes
from tests.support.control_plane.meshes import FakeRegistry, shop, thousand

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
MINUTES: Final = 60
NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""Fixed, so that the pictures change only when the page does."""


def registry() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what the registry knows of the service that fails."""
    endpoint = {"address": "10.0.1.163", "port": 15100, "state": "ready", "weight": 100, "deployment": "ecs-svc/2"}
    ids = ("a1173316d40a45dea9", "5f0b77c2a81e4d339c", "d94e20b7715a4c7f8b", "07c3aa19e2fd4b6690")
    zones = ("use1-az1", "use1-az2", "use1-az4", "use1-az1")
    return {
        "shop.local": {
            "stock": {
                "name": "stock",
                "protocol": "http",
                "vip": "127.254.0.7",
                "aliases": [{"dns_name": "stock", "port": 80}, {"dns_name": "stock.shop.local", "port": 80}],
                "policy": {"timeouts": {"request_seconds": 2}, "retries": {"count": 1}},
                "policy_since": "2026-11-20T09:15:00Z",
                "endpoints": [
                    {
                        **endpoint,
                        "id": f"{id}/http",
                        "address": f"10.0.{at + 1}.{163 - 20 * at}",
                        "zone": zones[at],
                        "task_definition": "stock:12",
                        "since": "2026-11-23T11:41:20Z",
                    }
                    for at, id in enumerate(ids)
                ],
                "conflicts": [],
                "owners": ["arn:aws:ecs:us-east-1:123456789012:service/shop/stock"],
                "findings": [],
                "ecs_service": "shop/stock",
                "history": [
                    {
                        "at": "2026-11-23T11:44:05Z",
                        "kind": "ECS Deployment State Change",
                        "event": "SERVICE_DEPLOYMENT_COMPLETED",
                        "level": "INFO",
                        "deployment": "ecs-svc/2",
                        "reason": "ECS deployment ecs-svc/2 completed.",
                    },
                    {
                        "at": "2026-11-23T11:40:30Z",
                        "kind": "ECS Deployment State Change",
                        "event": "SERVICE_DEPLOYMENT_IN_PROGRESS",
                        "level": "INFO",
                        "deployment": "ecs-svc/2",
                        "reason": "ECS deployment ecs-svc/2 in progress.",
                    },
                ],
            }
        }
    }


PICTURES: Final = {  # name: (mesh, address, width, height, scheme)
    "console": ("well", "/", 1280, 1000, "light"),
    "console-failing": ("failing", "/", 1280, 1150, "light"),
    "console-service": ("failing", "/services/stock", 1280, 1640, "light"),
    "dark": ("failing", "/", 1280, 1500, "dark"),
    "phone": ("failing", "/", 390, 1400, "light"),
    "phone-service": ("failing", "/services/stock", 390, 1800, "dark"),
    "thousand": ("thousand", "/", 1280, 1600, "light"),
    "mesh": ("failing", "/mesh", 1280, 900, "light"),
}
KEPT: Final = ("console", "console-failing", "console-service")
"""Pictures of the documentation."""


def main() -> int:
    """Write the pictures of the documentation, or those that are named into a folder: `FOLDER NAME...`."""
    folder, names = (Path(sys.argv[1]), sys.argv[2:]) if len(sys.argv) > 1 else (IMAGES, list(KEPT))
    minutes = last_minutes(NOW, MINUTES)
    meshes = {
        "well": lambda: shop(minutes),
        "failing": lambda: shop(minutes, stock_fails=42, sessions_end=51),
        "thousand": lambda: thousand(minutes[-5:]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name in names:
            mesh, address, width, height, scheme = PICTURES[name]
            reader = MetricReader(cast("Any", FakeCloudWatch(meshes[mesh]())), lambda: NOW)
            known = RegistryReader(FakeRegistry(registry()))
            console = Console(reader, sections(), "tramo, us-east-1", known)
            with ConsoleServer(console, 0, MINUTES) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                page = browser.new_page(**options, timezone_id="UTC")
                page.clock.set_fixed_time(NOW)
                page.on("console", lambda message: print(message.text, file=sys.stderr))
                page.on("pageerror", lambda error: print(error, file=sys.stderr))
                page.goto(f"http://127.0.0.1:{server.server_port}{address}")
                page.wait_for_selector("#state.good")
                path = folder / f"{name}.png"
                page.screenshot(path=path)
                print(f"{path}: {path.stat().st_size // 1024} KiB")
                page.close()
                server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
