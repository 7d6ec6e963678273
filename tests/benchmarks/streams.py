"""gRPC streaming as load: a service that echoes messages, and clients that keep many streams open and send in turn.

`serve` and `load` are programs of their own, each on ngh2 and one event loop, so that they disturb neither each other
nor the measuring. One message at a time is under way on every stream: it is sent, echoed, and followed by the next, all
of them on calls that stay open for the whole run. What is counted are messages there and back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any, Final, cast

import uvloop
from ngh2 import (
    Connection,
    ConnectionClosed,
    DataReceived,
    RequestReceived,
    ResponseReceived,
    Role,
    StreamReset,
    TrailersReceived,
)

MESSAGE: Final = b"\x00" + (100).to_bytes(4, "big") + b"x" * 100
"""A frame of gRPC: not compressed, its length, and 100 bytes."""
REQUEST: Final = [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/tramo.bench.Echo/Stream"), (b":authority", b"bench"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers"),
]  # fmt: skip
RESPONSE: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS: Final = [(b"grpc-status", b"0")]
END_SECONDS: Final = 5.0
"""For the answers to what is under way when the time is over."""


class _Endpoint(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, role: Role) -> None:
        self.h2 = Connection(role)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.h2.receive_data(data)
        for event in self.h2.events():
            self.happened(event)
        self.flush()

    def happened(self, event: Any) -> None:
        """What the other end did."""
        raise NotImplementedError

    def flush(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())


class Echo(_Endpoint):
    """The service's end: every call is answered with what it sends."""

    def __init__(self) -> None:
        super().__init__(Role.SERVER)

    def happened(self, event: Any) -> None:
        if isinstance(event, DataReceived):
            if event.data:
                self.h2.send_data(event.stream_id, event.data)
            if event.end_stream:
                self.h2.send_trailers(event.stream_id, TRAILERS)
        elif isinstance(event, RequestReceived):
            self.h2.send_response(event.stream_id, RESPONSE)


class Caller(_Endpoint):
    """The client's end: so many calls, each with one message under way."""

    def __init__(self, streams: int, until: float) -> None:
        super().__init__(Role.CLIENT)
        self.latencies: list[float] = []
        self.errors = 0
        self.done = asyncio.get_running_loop().create_future()
        self._count = streams
        self._until = until
        self._open: dict[
            int, tuple[float, int]
        ] = {}  # call to when its message was sent, and bytes of it that are back

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        for _ in range(self._count):
            self._send(self.h2.send_request(REQUEST))
        self.flush()

    def _send(self, stream: int) -> None:
        self._open[stream] = (time.perf_counter(), 0)
        self.h2.send_data(stream, MESSAGE)

    def happened(self, event: Any) -> None:
        if isinstance(event, DataReceived):
            self._came(event.stream_id, len(event.data))
        elif isinstance(event, TrailersReceived):
            self._ended(event.stream_id, failed=(b"grpc-status", b"0") not in [tuple(field) for field in event.headers])
        elif isinstance(event, StreamReset) or (isinstance(event, ResponseReceived) and event.headers[0][1] != b"200"):
            self._ended(event.stream_id, failed=True)
        elif isinstance(event, ConnectionClosed):
            self.connection_lost(None)

    def _came(self, stream: int, count: int) -> None:
        sent, back = self._open.get(stream, (0.0, 0))
        if back + count < len(MESSAGE):
            self._open[stream] = (sent, back + count)
            return
        now = time.perf_counter()
        self.latencies.append(now - sent)
        if now < self._until:
            self._send(stream)
        else:
            self._open[stream] = (now, 0)
            self.h2.end_stream(stream)

    def _ended(self, stream: int, failed: bool) -> None:
        if self._open.pop(stream, None) is not None:
            self.errors += failed
        if not self._open and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        for stream in list(self._open):
            self._ended(stream, failed=True)


async def serve(addresses: list[tuple[str, int]]) -> None:
    """Echo on all addresses until the process is ended."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Echo, host, port) for host, port in addresses]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def load(host: str, port: int, connections: int, streams: int, seconds: float) -> dict[str, float]:
    """Call for so many seconds. Return counts, messages per second, and percentiles in microseconds."""
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    callers = [
        (await loop.create_connection(lambda: Caller(streams, begin + seconds), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.wait([caller.done for caller in callers], timeout=seconds + END_SECONDS)
    taken = time.perf_counter() - begin
    errors = sum(caller.errors + (0 if caller.done.done() else 1) for caller in callers)
    latencies = sorted(latency for caller in callers for latency in caller.latencies)
    if not latencies:
        raise RuntimeError(f"no message came back from {host}:{port}")
    return {
        "requests": len(latencies),
        "errors": errors,
        "rate": len(latencies) / taken,
        "p50": latencies[len(latencies) // 2] * 1e6,
        "p99": latencies[len(latencies) * 99 // 100] * 1e6,
    }


def main() -> int:
    """Serve or load, as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streams", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("serve", "load"))
    parser.add_argument("addresses", nargs="+", metavar="HOST:PORT")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    addresses = [(host, int(port)) for host, _, port in (each.rpartition(":") for each in arguments.addresses)]
    if arguments.what == "serve":
        uvloop.run(serve(addresses))
    else:
        found = uvloop.run(load(*addresses[0], arguments.connections, arguments.streams, arguments.seconds))
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
