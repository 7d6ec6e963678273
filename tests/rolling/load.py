"""The callers: HTTP requests, gRPC calls and TCP sessions by the services' names, all the time.

Every second HTTP request is a POST, which may only be repeated when the first is known not to have been seen. Every
tenth request or call takes 300 ms at the service, so that some are under way whenever a task is told to stop. A TCP
session has ten exchanges in a second. What fails before a worker's first success is not counted: the first tasks of the
services are still on their way. After a failure a worker rests for as long as a session takes: one that came back at
once would count the same outage many times. A sidecar never answers a call with CANCELLED, but grpcio does so with a
call that reaches it as it stops: those are counted apart. The tally goes to standard output, one JSON line twice a
second; the last one has "final": true.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio comes without types

WORKERS: Final = 3
PAUSE_SECONDS: Final = 0.03
PAUSE_AFTER_FAILURE_SECONDS: Final = 1.0
EXCHANGES: Final = 10
EXCHANGE_MILLISECONDS: Final = 100
SLOW_MILLISECONDS: Final = 300
EVERY: Final = 10
METHOD: Final = "/rolling.Calls/Wait"
KEPT_ERRORS: Final = 5
"""Of each protocol: the last ones, to tell what a count was made of."""


class EndedByAppError(Exception):
    """The app itself has ended what it had taken."""


class Tally:
    """What was tried and what failed, by protocol."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._errors: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT_ERRORS))
        self._ended_by_app = 0

    def count(self, protocol: str, error: Exception | None) -> None:
        """Count one request, call or session."""
        with self._lock:
            counts = self._counts.setdefault(protocol, [0, 0])
            counts[0] += 1
            if error is not None:
                counts[1] += 1
                self._errors[protocol].append(f"{time.time():.3f} {protocol}: {type(error).__name__}: {error}")

    def count_ended_by_app(self) -> None:
        """Count what the app took and ended itself: no failure of the way to it."""
        with self._lock:
            self._ended_by_app += 1

    def line(self, *, final: bool) -> str:
        """Return the tally as a line of JSON."""
        with self._lock:
            counts = {name: {"tried": tried, "failed": failed} for name, (tried, failed) in self._counts.items()}
            rest = {"errors": [*chain.from_iterable(self._errors.values())], "ended_by_app": self._ended_by_app}
            return json.dumps({"final": final, "counts": counts, **rest})


class HttpCaller:
    """Requests on one kept connection. A connection that was closed between two requests is opened again."""

    def __init__(self, host: str = "http", port: int = 80) -> None:
        self._host, self._port = host, port
        self._kept: http.client.HTTPConnection | None = None
        self._posts = False

    def call(self, milliseconds: int) -> None:
        """Make one request."""
        self._posts = not self._posts
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                self._once(kept, milliseconds)
                return
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                pass  # as every client does: the kept connection had ended before, so the request goes on a new one
        self._once(http.client.HTTPConnection(self._host, self._port, timeout=10), milliseconds)

    def _once(self, connection: http.client.HTTPConnection, milliseconds: int) -> None:
        """Make one request; keep the connection only if that went well."""
        try:
            connection.request(
                "POST" if self._posts else "GET", f"/{milliseconds}", b"x" * 100 if self._posts else None
            )
            answer = connection.getresponse()
            body = answer.read()
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._kept = connection
        if (answer.status, body) != (200, f"/{milliseconds}".encode()):
            raise ValueError(f"{answer.status} {body!r}")


class GrpcCaller:
    """Calls on one channel."""

    def __init__(self) -> None:
        options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
        self._call = grpc.insecure_channel("grpc:80", options=options).unary_unary(METHOD)

    def call(self, milliseconds: int) -> None:
        """Make one call."""
        request = str(milliseconds).encode()
        try:
            answer = self._call(request, timeout=10)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.CANCELLED:  # grpcio's own word for a call in its last moment
                raise EndedByAppError from error
            raise
        if answer != request:
            raise ValueError("another answer than was asked for")


class TcpCaller:
    """Sessions, each on a connection of its own."""

    def call(self, _: int) -> None:
        """Hold one session."""
        with socket.create_connection(("tcp", 80), timeout=10) as connection, connection.makefile("rwb") as file:
            for number in range(EXCHANGES):
                line = b"%d\n" % (EXCHANGE_MILLISECONDS + number)
                file.write(line)
                file.flush()
                if file.readline() != line:
                    raise ConnectionError("the session was cut")


class RedisCaller:
    """Sessions with a redis-server, each on a connection of its own."""

    def call(self, _: int) -> None:
        """Hold one session."""
        with socket.create_connection(("tcp", 80), timeout=10) as connection, connection.makefile("rwb") as file:
            for number in range(EXCHANGES):
                said = b"%d" % number
                file.write(b"PING %s\r\n" % said)
                file.flush()
                if (file.readline(), file.readline()) != (b"$%d\r\n" % len(said), said + b"\r\n"):
                    raise ConnectionError("the session was cut")
                time.sleep(EXCHANGE_MILLISECONDS / 1000)


Caller = HttpCaller | GrpcCaller | TcpCaller | RedisCaller


def work(protocol: str, make: Callable[[], Caller], tally: Tally, stop: threading.Event) -> None:
    """Call until stopped."""
    caller, number, reached = make(), 0, False
    while not stop.wait(PAUSE_SECONDS):
        number += 1
        try:
            caller.call(0 if number % EVERY else SLOW_MILLISECONDS)
        except EndedByAppError:
            tally.count_ended_by_app()
        except (OSError, ValueError, http.client.HTTPException, grpc.RpcError) as error:
            if reached:
                tally.count(protocol, error)
            stop.wait(PAUSE_AFTER_FAILURE_SECONDS)
        else:
            reached = True
            tally.count(protocol, None)


def main() -> None:
    """Call until SIGTERM, finish what is under way, and say the last tally."""
    stop, tally = threading.Event(), Tally()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tcp = RedisCaller if "redis" in sys.argv[1:] else TcpCaller
    kinds: dict[str, Callable[[], Any]] = {"http": HttpCaller, "grpc": GrpcCaller, "tcp": tcp}
    workers = [
        threading.Thread(target=work, args=(protocol, make, tally, stop))
        for protocol, make in kinds.items()
        for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    while not stop.wait(0.5):
        sys.stdout.write(tally.line(final=False) + "\n")
        sys.stdout.flush()
    for worker in workers:
        worker.join()
    sys.stdout.write(tally.line(final=True) + "\n")


if __name__ == "__main__":
    main()
