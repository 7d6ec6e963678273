"""The service that is deployed again and again: HTTP/1.1, gRPC and TCP in one task, with a way of stopping.

A request or line may ask to be answered late: `/300` and `300` after 300 ms. A request that takes a second or more is
announced on stdout, so that a test knows that it is under way. What happens on SIGTERM is chosen by the argument:

- `ordinary`, as gunicorn, uvicorn, nginx or Node do it: accept no more, finish what is under way, exit. A kept
  connection without a request is closed.
- `abrupt`: exit at once; what is under way is cut.
- `patient`: serve on until nobody has come for a while, as an app does that knows that its callers learn of it late.

More arguments name the protocols to serve, if not all.

A TCP session is under way until its client ends it: the ordinary service waits for it, at most LONGEST_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio comes without types

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 9090
TCP_PORT: Final = 7000
PROTOCOLS: Final = ("http", "grpc", "tcp")
METHOD: Final = "/rolling.Calls/Wait"
QUIET_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 50.0
INSIDE: Final = "inside:"
"""What the abrupt service writes before how many requests, calls and sessions it cuts."""
_POLL_SECONDS: Final = 0.05


class Stop(StrEnum):
    """What the service does on SIGTERM."""

    ORDINARY = "ordinary"
    ABRUPT = "abrupt"
    PATIENT = "patient"


class Work:
    """What is under way, and when something last was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._last = time.monotonic()
        self._is_over = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._is_over:
                self._active += 1
                return
        threading.Event().wait()  # until the process ends: what has come stays unread, and its sender hears so

    def end(self) -> bool:
        """Take no more if nothing is under way. Return whether that is so: then the process can end and cut nobody."""
        with self._lock:
            self._is_over = self._is_over or self._active == 0
            return self._is_over

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._active -= 1
            self._last = time.monotonic()

    @property
    def active(self) -> int:
        """How much is under way."""
        with self._lock:
            return self._active

    def quiet_for(self) -> float:
        """Return for how long nothing has been under way."""
        with self._lock:
            return 0.0 if self._active else time.monotonic() - self._last


WORK: Final = Work()


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1. `closing` is set when no further request is taken on a connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    closing = threading.Event()

    def handle_one_request(self) -> None:
        """Serve a request; it is under way before its first byte is read, so none is read and then forgotten."""
        select.select([self.connection], [], [])
        with WORK:
            super().handle_one_request()

    def do_GET(self) -> None:
        seconds = int(self.path.strip("/") or 0) / 1000
        if seconds >= 1:
            print(self.path, flush=True)
        time.sleep(seconds)
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.closing.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request."""


class HttpServer(ThreadingHTTPServer):
    """The HTTP server; a long queue of connections, as servers of production have."""

    request_queue_size = 128
    daemon_threads = True


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # its base has no types
    """gRPC: one method of plain bytes."""

    def service(self, handler_call_details: Any) -> Any:
        """Return the method's handler."""
        found = handler_call_details.method == METHOD
        return grpc.unary_unary_rpc_method_handler(self._wait) if found else None

    def _wait(self, request: bytes, context: Any) -> bytes:
        with WORK:
            time.sleep(int(request or b"0") / 1000)
            return request


async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line of one TCP connection with itself, until its client ends it."""
    try:
        with WORK:
            while line := await reader.readline():
                await asyncio.sleep(int(line) / 1000)
                writer.write(line)
                await writer.drain()
    except ConnectionError:
        pass  # the client is gone
    finally:
        writer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds, or after LONGEST_SECONDS."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_SECONDS):
            while not condition():  # noqa: ASYNC110 - the conditions are about threads
                await asyncio.sleep(_POLL_SECONDS)


def serve_http(host: str) -> Callable[[], object]:
    """Serve HTTP; return what ends it."""
    http = HttpServer((host, HTTP_PORT), Handler)
    threading.Thread(target=http.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    def end() -> None:
        Handler.closing.set()
        http.shutdown()
        http.server_close()

    return end


def serve_grpc(host: str) -> Callable[[], object]:
    """Serve gRPC; return what ends it once the calls under way have ended."""
    calls = grpc.server(ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
    calls.add_generic_rpc_handlers((Calls(),))
    calls.add_insecure_port(f"{host}:{GRPC_PORT}")
    calls.start()
    return lambda: calls.stop(LONGEST_SECONDS)


async def main(stop: Stop, protocols: Collection[str]) -> None:
    """Serve until SIGTERM, then stop as is chosen."""
    host = os.environ.get("HOST", "0.0.0.0")
    ends: list[Callable[[], object]] = []
    if "http" in protocols:
        ends.append(serve_http(host))
    if "grpc" in protocols:
        ends.append(serve_grpc(host))
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    if "tcp" in protocols:
        ends.append((await asyncio.start_server(session, host, TCP_PORT)).close)
    await asked.wait()
    if stop is Stop.ABRUPT:
        print(INSIDE, WORK.active, flush=True)
        os._exit(0)  # without a word to anybody
    if stop is Stop.PATIENT:
        began = time.monotonic()
        await until(lambda: min(WORK.quiet_for(), time.monotonic() - began) >= QUIET_SECONDS)
    answered = [event for event in [end() for end in ends] if isinstance(event, threading.Event)]
    await until(lambda: all(event.is_set() for event in answered) and WORK.end())
    os._exit(0)  # threads that wait on connections without a request would hold it


if __name__ == "__main__":
    asyncio.run(main(Stop(sys.argv[1] if len(sys.argv) > 1 else Stop.ORDINARY), sys.argv[2:] or PROTOCOLS))
