"""One health check of one endpoint, over a connection of its own.

Rules:
- HTTP goes in the version that the service speaks; gRPC always over HTTP/2.
- An HTTP check is decided by the head of the answer, a gRPC check by its message and its trailers.
- A TCP check connects. Another sidecar accepts before it knows whether its app does, so a connection that is closed
  within `SETTLE_SECONDS` has failed.
- Whatever happens is an answer: this raises nothing but what would be a bug.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ProtocolError
from sidecar.core.http import grpc
from sidecar.core.http.http1_responses import ResponseReader
from sidecar.core.http.http1_writer import encode_request_head
from sidecar.core.http.http2 import Http2Codec
from sidecar.core.http.http2_events import Reset
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, RequestHead, ResponseHead
from sidecar.core.routing.health_check import grpc_failure, grpc_request, http_failure
from sidecar.proxy.base.sockets import connect_failure

if TYPE_CHECKING:
    from sidecar.core.routing.cluster import Cluster
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.core.routing.policy import HealthCheck

READ_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 1_024
"""Of a gRPC answer, whose one message has two bytes; more is not one."""
SETTLE_SECONDS: Final = 0.1
USER_AGENT: Final = (b"user-agent", b"tramo-health-check")
GRPC_METHOD: Final = b"/grpc.health.v1.Health/Check"


async def probe(cluster: Cluster, endpoint: Endpoint) -> str:
    """Check the endpoint by the cluster's policy. Return why it failed, or nothing if it did not."""
    policy = cluster.policy.health_check
    is_connected = False
    try:
        async with asyncio.timeout(policy.timeout_seconds):
            reader, writer = await asyncio.open_connection(endpoint.address, endpoint.port)
            is_connected = True
            endpoint.connect_failure = ""
            try:
                if policy.protocol == "tcp":
                    return await _tcp(reader)
                if policy.protocol == "grpc":
                    return await _grpc(reader, writer, cluster.name, policy)
                return await _http(reader, writer, cluster, endpoint, policy)
            finally:
                writer.close()
    except OSError as error:  # TimeoutError is one
        if not is_connected:
            endpoint.connect_failure = connect_failure(error)
        if isinstance(error, TimeoutError):
            return f"no {'answer' if is_connected else 'connection'} within {policy.timeout_seconds:g} s"
        return str(error) or type(error).__name__
    except ProtocolError as error:
        return str(error) or type(error).__name__


async def _tcp(reader: asyncio.StreamReader) -> str:
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            return "" if await reader.read(1) else "the connection was closed at once"
    except TimeoutError:
        return ""  # it waits for the client's first word


async def _http(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    cluster: Cluster,
    endpoint: Endpoint,
    policy: HealthCheck,
) -> str:
    head = RequestHead(b"GET", policy.path.encode(), cluster.name.encode(), [USER_AGENT])
    if endpoint.protocol in ("http2", "grpc"):
        answer = await _exchange(reader, writer, head, b"", _Answer(head_only=True))
        return http_failure(policy, answer.status)
    head.fields.append((b"connection", b"close"))
    writer.write(encode_request_head(head))
    parser = ResponseReader()
    parser.expect(head.method)
    try:
        while data := await reader.read(READ_BYTES):
            for event in parser.feed(data):
                if isinstance(event, ResponseHead) and event.status >= 200:
                    return http_failure(policy, event.status)
    finally:
        parser.release()
    return "the connection was closed without an answer"


async def _grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, policy: HealthCheck) -> str:
    fields = [USER_AGENT, (b"content-type", grpc.CONTENT_TYPE), (b"te", b"trailers")]
    head = RequestHead(b"POST", GRPC_METHOD, name.encode(), fields, UNKNOWN_LENGTH)
    answer = await _exchange(reader, writer, head, grpc_request(policy.grpc_service), _Answer(head_only=False))
    if answer.status != 200:
        return f"status {answer.status}"
    return grpc_failure(answer.grpc_status, bytes(answer.body))


class _Answer:
    """An answer over HTTP/2, as far as a check looks at it."""

    def __init__(self, head_only: bool) -> None:
        self._head_only = head_only
        self.status = 0
        self.grpc_status: int | None = None
        self.body = bytearray()
        self.whole = False

    def take(self, event: object) -> None:
        """Take an event of the stream. Raises ProtocolError when it ends the stream before its time."""
        if isinstance(event, ResponseHead) and event.status >= 200:
            self.status = event.status
            self.grpc_status = grpc.status_of(event.fields)
            self.whole = self._head_only
        elif isinstance(event, bytes):
            self.body += event
            self.whole = len(self.body) > MAX_BODY_BYTES
        elif isinstance(event, End):
            status = grpc.status_of(event.trailers)
            self.grpc_status = self.grpc_status if status is None else status
            self.whole = True
        elif isinstance(event, Reset):
            raise ProtocolError(f"the stream was reset with code {event.code}")


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: RequestHead, body: bytes, answer: _Answer
) -> _Answer:
    """Send one request on a new HTTP/2 connection."""
    codec = Http2Codec(is_server=False)
    stream = codec.send_request(head)
    if body:
        codec.send_data(stream, body)
        codec.send_end(stream, [])
    while not (answer.whole or codec.closed):
        writer.write(codec.output())
        data = await reader.read(READ_BYTES)
        if not data:
            raise ProtocolError("the connection was closed without an answer")
        for of, event in codec.feed(data):
            if of == stream:
                answer.take(event)
    if not answer.whole:
        raise ProtocolError("the answer is not valid HTTP/2")
    return answer
