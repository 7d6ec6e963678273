"""A listener, a destination and its connections over fake sockets, so that a test is the far end of each of them.

`Http1Rig` speaks in bytes: its far ends are fake sockets. `Http2Rig` speaks in frames: its far ends are peers, each
with a codec of the other role.
"""

from __future__ import annotations

import asyncio
from typing import cast

from sidecar.core.direction import INBOUND
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_events import StreamEvent
from sidecar.core.http.messages import Fields, RequestHead
from sidecar.core.meters import ClientMeter, ServerMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import DEFAULT, Policy
from sidecar.core.snapshot import EndpointRecord
from sidecar.core.states import AppProtocol
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.downstream.http1 import Http1Connection
from sidecar.proxy.downstream.http2 import Http2DownstreamConnection
from sidecar.proxy.listeners import HttpListener
from sidecar.proxy.upstream.destination import Destination
from sidecar.proxy.upstream.http1 import Http1UpstreamConnection
from sidecar.proxy.upstream.http1_pool import Http1Pool
from sidecar.proxy.upstream.http2 import Http2UpstreamConnection
from sidecar.proxy.upstream.http2_pool import Http2Pool
from tests.support.proxy.fake_loop import FakeLoop, FakeTransport
from tests.support.wire.http2 import told

SEED = 6
"""Of what the balancer draws. With it the first turn goes to the second of two endpoints, which tests count on."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Rig:
    """One service with its endpoints, behind one listener."""

    def __init__(self, endpoints: int, policy: Policy, protocol: AppProtocol, loop: FakeLoop) -> None:
        self.loop = loop
        self.runtime = Runtime(cast("asyncio.AbstractEventLoop", self.loop), seed=SEED)
        self.runtime.start()
        self.client_meter = ClientMeter("orders")
        self.server_meter = ServerMeter("orders")
        self.records = tuple(EndpointRecord(f"e{n}", "10.0.0.1", 8000 + n, "ready") for n in range(endpoints))
        self.cluster = Cluster("orders", protocol, policy)
        self.cluster.update(protocol, policy, self.records, "", 0.0)
        self.destination = Destination(self.runtime, self.cluster, self.client_meter, self.client_meter, 30.0)
        self.listener = HttpListener(self.runtime, self.destination, INBOUND, self.server_meter)

    def run(self) -> None:
        """Run the loop until nothing moves."""
        self.loop.run()

    def settled(self) -> bool:
        """Whether nothing is under way and nothing is counted that is not there."""
        self.run()
        return (
            self.runtime.work == 0
            and self.cluster.active_requests == 0
            and self.cluster.pending_requests == 0
            and all(endpoint.active == 0 for endpoint in self.cluster.endpoints)
        )


class Http1Rig(Rig):
    """A service that speaks HTTP/1.1."""

    def __init__(self, endpoints: int = 1, policy: Policy = DEFAULT, loop: FakeLoop | None = None) -> None:
        super().__init__(endpoints, policy, "http", loop or FakeLoop())

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


class Peer:
    """The far end of a connection of the proxy."""

    def __init__(self, rig: Http2Rig, protocol: asyncio.Protocol, codec: Http2Codec) -> None:
        self.codec = codec
        self._rig = rig
        self._heard: list[tuple[int, StreamEvent]] = []
        self.transport = FakeTransport(rig.loop, protocol)

    def carry(self) -> bool:
        """Carry bytes both ways once; whether there were any."""
        down, up = self.transport.take(), self.codec.output()
        self._heard += self.codec.deferred_events()
        self._heard += self.codec.feed(down)
        if up and not self.transport.is_closing():
            self.transport.receive(up)
        return bool(down or up)

    def heard(self) -> list[object]:
        """What this end was told since the last call, in a form that can be compared."""
        self._rig.run()
        found, self._heard = self._heard, []
        return told(found)

    def take(self) -> list[tuple[int, StreamEvent]]:
        """What this end was told since the last call."""
        self._rig.run()
        found, self._heard = self._heard, []
        return found


class Client(Peer):
    """A client of the listener."""

    codec: Http2Codec

    def ask(self, method: bytes = b"GET", length: int = 0, fields: Fields | None = None, target: bytes = b"/") -> int:
        """Begin a request and carry it; its stream."""
        stream = self.codec.send_request(RequestHead(method, target, b"orders", fields or [], length))
        self._rig.run()
        return stream


class Http2Rig(Rig):
    """A service that speaks HTTP/2 or gRPC."""

    def __init__(self, endpoints: int = 1, policy: Policy = DEFAULT, protocol: AppProtocol = "http2") -> None:
        super().__init__(endpoints, policy, protocol, FakeLoop())
        self.peers: list[Peer] = []

    def client(self, greet: bool = True) -> Client:
        """A client's new connection; without `greet` the caller feeds the transport itself."""
        found = Client(self, Http2DownstreamConnection(self.listener), Http2Codec(is_server=False))
        if greet:
            self.peers.append(found)
            self.run()
        return found

    def pool(self, endpoint: int = 0) -> Http2Pool:
        """The pool of an endpoint."""
        found = self.destination.pool(self.cluster.endpoints[endpoint])
        assert isinstance(found, Http2Pool)
        return found

    def connects(self) -> int:
        """How many connections the proxy has begun to make since the last call."""
        found = sum(name.startswith("connect") for name in self.loop.tasks)
        self.loop.tasks.clear()
        return found

    def upstream(self, endpoint: int = 0, settings: bytes | None = None, settle: bool = True) -> Peer:
        """The connection that the proxy has begun to make is there. `settings` is sent in place of the codec's own."""
        found = Peer(self, Http2UpstreamConnection(self.pool(endpoint)), Http2Codec(is_server=True))
        if settings is not None:
            found.codec.output()
            found.transport.receive(settings)
        if settle:
            self.peers.append(found)
        self.run()
        return found

    def run(self) -> None:
        """Run the loop and carry bytes until nothing moves."""
        self.loop.run()
        while sum(peer.carry() for peer in self.peers):
            self.loop.run()

    def advance(self, seconds: float) -> None:
        """Let time go on."""
        self.loop.advance(seconds)
        self.run()
