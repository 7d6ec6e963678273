"""The mesh without root: tasks on loopback addresses, each told by HOST where to listen."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from infra.cli.mesh_state import knows_all
from infra.local.settings import Settings
from infra.local.up import machine

SHOP = Path(__file__).parents[2] / "infra" / "examples" / "shop"
SERVICES = ("web", "orders", "stock", "cache")
PATIENCE = 90.0


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_the_shop_runs_on_loopback_addresses(tmp_path: Path) -> None:
    answer = asyncio.run(order(Settings(tmp_path / "s", SHOP, network="loopback")))
    assert answer["order"]["stock"]["service"] == "stock"
    assert answer["order"]["number"] >= 1


async def order(settings: Settings) -> dict[str, Any]:
    """Bring the shop up and order at web, through its sidecar."""
    async with machine(settings) as (made, _):
        assert made.shared_network == "loopback was chosen"
        assert await made.cluster.until(made.cluster.steady, PATIENCE)
        runners = list(made.cluster.tasks.values())
        assert {runner.identity.address.partition(".")[0] for runner in runners} == {"127"}
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(lambda: all(knows_all(r.place, SERVICES) for r in runners)):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        [web] = [runner for runner in runners if runner.identity.service == "web"]
        answer = await asyncio.to_thread(_get, f"http://{web.identity.address}:15100/tea")
        await asyncio.wait_for(made.cluster.stop(), PATIENCE)
    return answer


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as response:
        found: dict[str, Any] = json.load(response)
        return found
