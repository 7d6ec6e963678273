"""Records of single requests and connections: lines of the access log, spans of traces.

Rules:
- Where neither log, tracing nor OTLP's metrics are on there is no recorder, and a request costs one comparison.
- An `Observation` stands between one exchange and its client and passes everything on. It writes its record at the
  last byte to the client, or when the client is gone, exactly once.
- A request that is not sampled is observed only if the access log or OTLP's metrics need it, or somebody taps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import UNSET

from sidecar.core.access_log import HttpLine, TcpLine, Timestamps, as_json, as_text, chosen, milliseconds, text_of
from sidecar.core.direction import INBOUND, Direction
from sidecar.core.durations import Durations, Kind
from sidecar.core.errors import LocalReply
from sidecar.core.flags import Flags, joined
from sidecar.core.http import grpc
from sidecar.core.http.messages import Fields, ResponseHead
from sidecar.core.otlp import METHODS, OTHER_METHOD
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.trace import Sampler, Span, begin, trace_id
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.tcp_record import TcpObservation

if TYPE_CHECKING:
    from sidecar.proxy.base.interfaces import ExchangeEvents, Request

_SAMPLE_STEPS: Final = 65_536.0


class LineWriter(Protocol):
    """Where lines of the access log go."""

    written: int
    dropped: int

    def write(self, line: bytes) -> None:
        """Write a line soon."""


class SpanExporter(Protocol):
    """Where finished spans go."""

    @property
    def name(self) -> str:
        """As `/stats` calls it."""

    sent: int
    dropped: int

    def export(self, span: Span) -> None:
        """Send a span; never wait for it."""


class AccessLog:
    """How lines are written and which."""

    def __init__(
        self, output: LineWriter, text: bool, share: float, query: bool, headers: frozenset[bytes] = frozenset()
    ) -> None:
        self.output = output
        self.headers = headers  # of requests, that lines have
        self.encode = as_text if text else as_json
        self.threshold = int(share * _SAMPLE_STEPS)
        self.query = query


class Tracing:
    """How requests are sampled and where spans go. With `w3c`, `traceparent` is continued too."""

    def __init__(self, exporters: Sequence[SpanExporter], rate: float, w3c: bool) -> None:
        self.exporters = exporters
        self.sampler = Sampler(rate)
        self.w3c = w3c


class Recorder:
    """Makes the records of this sidecar."""

    def __init__(
        self,
        runtime: Runtime,
        log: AccessLog | None,
        tracing: Tracing | None,
        wall: Callable[[], float],
        durations: Durations | None = None,
    ) -> None:
        self.runtime = runtime
        self.log = log
        self.tracing = tracing
        self.durations = durations
        self.wall = wall
        self.taps: list[Callable[[HttpLine], None]] = []
        self.timestamps = Timestamps()
        self._connections = 0

    def is_used(self) -> bool:
        """Whether anything is recorded for anybody."""
        return self.tracing is not None or self._follows_all()

    def _follows_all(self) -> bool:
        """Whether every request is followed, sampled or not."""
        return self.log is not None or self.durations is not None or bool(self.taps)

    def observe(self, exchange: ExchangeEvents, request: Request) -> None:
        """Begin a request: continue its trace, and follow it if it is to be recorded."""
        wall = self.wall()
        span = None
        if self.tracing is not None:
            tracing, fields = self.tracing, request.head.fields
            now, random = self.runtime.now(), self.runtime.random
            inbound = request.direction is INBOUND
            span = begin(fields, tracing.sampler, request.service, inbound, now, wall, random, tracing.w3c)
        if span is not None or self._follows_all():
            exchange.observe(Observation(self, request, wall, span))

    def refused(self, request: Request, reply: LocalReply) -> None:
        """Record a request that was answered without going anywhere."""
        if not self._follows_all():
            return
        observation = Observation(self, request, self.wall(), None)
        observation.finished(None, 1, 0.0, reply.flags)
        observation.status = reply.status
        observation.end()

    def write(self, line: HttpLine | TcpLine) -> None:
        """Write a line."""
        if self.log is not None:
            self.log.output.write(self.log.encode(line))

    def wants(self, failed: bool) -> bool:
        """Return whether to write this line: a failure always, of the others the share that is asked for."""
        return self.log is not None and (failed or self.runtime.random(16) < self.log.threshold)

    def connection(self, direction: Direction) -> TcpObservation | None:
        """Return the observation of a new TCP connection, if there is a log to write it to."""
        if self.log is None:
            return None
        self._connections += 1
        return TcpObservation(self, direction, self._connections)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return what became of the records, by where they go: `access_log`, `xray`, `otlp`."""
        found: dict[str, dict[str, int]] = {}
        if self.log is not None:
            found["access_log"] = {"written": self.log.output.written, "dropped": self.log.output.dropped}
        if self.tracing is not None:
            for exporter in self.tracing.exporters:
                found[exporter.name] = {"sent": exporter.sent, "dropped": exporter.dropped}
        return found


class Observation:
    """One request, seen from the client's side of its exchange."""

    __slots__ = (
        "_answered",
        "_attempts",
        "_client",
        "_ended",
        "_endpoint",
        "_flags",
        "_grpc_status",
        "_head",
        "_latency",
        "_recorder",
        "_request",
        "_span",
        "_started",
        "_wall",
        "received",
        "sent",
        "status",
    )

    def __init__(self, recorder: Recorder, request: Request, wall: float, span: Span | None) -> None:
        self._recorder = recorder
        self._request = request
        self._client = request.client
        self._head = request.head
        self._wall = wall
        self._span = span
        self._started = recorder.runtime.now()
        self._endpoint: Endpoint | None = None
        self._attempts = 0
        self._latency = 0.0
        self._flags: Flags = ()
        self._grpc_status: int | None = None
        self._ended = False
        self._answered = False  # by the endpoint
        self.status = 0
        self.received = 0
        self.sent = 0

    # The client, as the exchange sees it.

    def send_head(self, head: ResponseHead) -> None:
        """Pass the head on; a final one is the answer's."""
        if head.status >= 200 or head.status == 101:
            self.status = head.status
            self._answered = True
            if self._head.is_grpc:
                self._grpc_status = grpc.status_of(head.fields)
        self._client.send_head(head)

    def send_data(self, data: bytes) -> None:
        """Pass data on."""
        self.sent += len(data)
        self._client.send_data(data)

    def send_end(self, trailers: Fields) -> None:
        """Pass the end on: the request is over."""
        if self._head.is_grpc and self._grpc_status is None:
            self._grpc_status = grpc.status_of(trailers)
        self.end()
        self._client.send_end(trailers)

    def send_local(self, reply: LocalReply) -> None:
        """Pass the proxy's own answer on: the request is over."""
        self.status = reply.status
        if self._head.is_grpc:
            head = grpc.local_reply(reply)
            self.status, self._grpc_status = head.status, grpc.status_of(head.fields)
        self.end()
        self._client.send_local(reply)

    def send_eof(self) -> None:
        """Pass a half-close on."""
        self._client.send_eof()

    def take_early(self) -> bytes:
        """Ask the client."""
        return self._client.take_early()

    def abort(self) -> None:
        """Pass the cut on: the request is over."""
        self.end()
        self._client.abort()

    def close(self) -> None:
        """Pass the close on: the request is over."""
        self.end()
        self._client.close()

    def pause_request(self) -> None:
        """Ask the client."""
        self._client.pause_request()

    def resume_request(self) -> None:
        """Ask the client."""
        self._client.resume_request()

    # The exchange's own word.

    def finished(self, endpoint: Endpoint | None, attempts: int, latency: float, flags: Flags) -> None:
        """Record what only the exchange knows."""
        self._endpoint = endpoint
        self._attempts = attempts
        self._latency = latency
        self._flags = flags

    def end(self) -> None:
        """Write the record."""
        if self._ended:
            return
        self._ended = True
        recorder = self._recorder
        duration = recorder.runtime.now() - self._started
        if recorder.log is not None and recorder.wants(self._failed()):
            recorder.write(self._line(duration, recorder.log.query, recorder.log.headers))
        if recorder.taps:
            line = self._line(duration, False, frozenset())
            for tap in recorder.taps:
                tap(line)
        if recorder.durations is not None:
            recorder.durations.record(self._kind(), duration)
        if self._span is not None and recorder.tracing is not None:
            span = self._finish_span(self._span, duration)
            for exporter in recorder.tracing.exporters:
                exporter.export(span)

    def _kind(self) -> Kind:
        request, head = self._request, self._head
        method = head.method.decode() if head.method in METHODS else OTHER_METHOD if head.method else ""
        flag = self._flags[-1].code if self._flags else ""
        inbound = request.direction is INBOUND
        return Kind(inbound, request.service, method, self._version(), self.status, self._grpc_status, flag)

    def _version(self) -> str:
        return "2" if self._request.stream is not None else "1.0" if self._head.is_http_10 else "1.1"

    def _failed(self) -> bool:
        return bool(self._flags) or self.status >= 500 or self._grpc_status in grpc.FAILURES

    def _line(self, duration: float, query: bool, headers: frozenset[bytes]) -> HttpLine:
        head, endpoint = self._head, self._endpoint
        fields = dict(head.fields)
        return HttpLine(
            start_time=self._recorder.timestamps.text(self._wall),
            direction=self._request.direction,
            method=text_of(head.method) or "",
            path=text_of(head.target if query else head.target.partition(b"?")[0]) or "",
            protocol=f"HTTP/{self._version()}",
            response_code=self.status,
            response_flags=joined(self._flags) or "-",
            bytes_received=self.received,
            bytes_sent=self.sent,
            duration=milliseconds(duration),
            upstream_service_time=milliseconds(self._latency) if self._answered else None,
            forwarded_for=text_of(fields.get(b"x-forwarded-for")),
            user_agent=text_of(fields.get(b"user-agent")),
            request_id=text_of(fields.get(b"x-request-id")),
            authority=text_of(head.authority) or "",
            upstream_host=f"{endpoint.address}:{endpoint.port}" if endpoint is not None else None,
            upstream_cluster=self._request.service,
            upstream_endpoint=endpoint.id if endpoint is not None else None,
            retries=max(self._attempts - 1, 0),
            downstream_address=self._request.peer.decode(),
            trace_id=trace_id(fields) or None,
            stream_id=self._request.stream,
            grpc_status=self._grpc_status,
            headers=chosen(head.fields, headers) if headers else UNSET,
        )

    def _finish_span(self, span: Span, duration: float) -> Span:
        head, endpoint = self._head, self._endpoint
        span.end = span.start + duration
        span.method = text_of(head.method) or ""
        span.authority = text_of(head.authority) or ""
        span.path = text_of(head.target.partition(b"?")[0]) or ""
        span.version = self._version()
        span.is_grpc = head.is_grpc
        span.grpc_status = self._grpc_status
        span.client = self._request.peer.decode()
        span.user_agent = text_of(head.get(b"user-agent")) or ""
        span.status = self.status
        span.bytes_sent = self.sent
        span.retries = max(self._attempts - 1, 0)
        span.flags = joined(self._flags)
        span.upstream = f"{endpoint.address}:{endpoint.port}" if endpoint is not None else ""
        return span
