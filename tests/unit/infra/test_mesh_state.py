from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from infra.cli.mesh_state import knows_all
from infra.local.environment import ADMIN_PORT, Place
from infra.local.httpserver import HttpServer, Request, Response
from infra.local.network import LoopbackNetwork


def cluster(name: str, *states: str) -> dict[str, Any]:
    return {"name": name, "endpoints": [{"state": state} for state in states]}


def test_a_sidecar_knows_a_service_when_it_has_a_ready_endpoint(tmp_path: Path) -> None:
    document = {"clusters": [cluster("web", "draining", "ready"), cluster("orders", "starting"), cluster("stock")]}

    async def clusters(request: Request) -> Response:
        return Response(200 if request.path == "/clusters" else 404, json.dumps(document).encode())

    async def main() -> None:
        network = LoopbackNetwork()
        own = Place(network.take(), tmp_path, private_hosts=False)
        server = HttpServer(clusters)
        try:
            assert not await asyncio.to_thread(knows_all, own, ["web"])  # nobody is there
            await server.listen(own.address, ADMIN_PORT)
            assert await asyncio.to_thread(knows_all, own, ["web"])
            assert not await asyncio.to_thread(knows_all, own, ["web", "orders"])
            assert not await asyncio.to_thread(knows_all, own, ["stock"])
        finally:
            await server.close()
            network.close()

    asyncio.run(main())
