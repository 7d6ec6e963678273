"""A listener, a destination and warm connections over fake sockets: one exchange at a time under the lens."""

from __future__ import annotations

import asyncio
from typing import cast

from sidecar.core.direction import INBOUND
from sidecar.core.meters import ClientMeter, ServerMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import DEFAULT, Policy
from sidecar.core.snapshot import EndpointRecord
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.downstream.http1 import Http1Connection
from sidecar.proxy.listeners import HttpListener
from sidecar.proxy.upstream.destination import Destination
from sidecar.proxy.upstream.http1 import Http1UpstreamConnection
from sidecar.proxy.upstream.http1_pool import Http1Pool
from tests.support.proxy.fake_loop import FakeLoop, FakeTransport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Bench:
    """One service with its endpoints, behind one listener."""

    def __init__(self, endpoints: int = 1, policy: Policy = DEFAULT, loop: FakeLoop | None = None) -> None:
        self.loop = loop or FakeLoop()
        self.runtime = Runtime(cast("asyncio.AbstractEventLoop", self.loop), seed=1)
        self.runtime.start()
        self.client_meter = ClientMeter("orders")
        self.server_meter = ServerMeter("orders")
        self.records = tuple(EndpointRecord(f"e{n}", "10.0.0.1", 8000 + n, "ready") for n in range(endpoints))
        self.cluster = Cluster("orders", "http", policy)
        self.cluster.update("http", policy, self.records, "", 0.0)
        self.destination = Destination(self.runtime, self.cluster, self.client_meter, self.client_meter, 30.0)
        self.listener = HttpListener(self.runtime, self.destination, INBOUND, self.server_meter)

    def client(self) -> FakeTransport:
        """A client's new connection."""
        return FakeTransport(self.loop, Http1Connection(self.listener))

    def upstream(self, endpoint: int = 0) -> FakeTransport:
        """A new connection to an endpoint: for the request that waits for one, else idle in the pool."""
        pool = self.destination.pool(self.cluster.endpoints[endpoint])
        assert isinstance(pool, Http1Pool)
        connection = Http1UpstreamConnection(pool)
        self.cluster.connections += 1
        transport = FakeTransport(self.loop, connection)
        pool.release(connection)
        self.loop.run()
        return transport

    def settled(self) -> bool:
        """Whether nothing is under way and nothing is counted that is not there."""
        self.loop.run()
        return (
            self.runtime.work == 0
            and self.cluster.active_requests == 0
            and self.cluster.pending_requests == 0
            and all(endpoint.active == 0 for endpoint in self.cluster.endpoints)
        )
