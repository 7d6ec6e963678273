"""The service that is deployed again and again: HTTP/1.1, gRPC and TCP in one task.

A request or line may ask to be answered late: `/300` and `300` after 300 ms. On SIGTERM it goes on serving until nobody
has come for a while, as an app does whose callers learn a little later that it goes away.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio comes without types

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 9090
TCP_PORT: Final = 7000
METHOD: Final = "/rolling.Calls/Wait"
QUIET_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 50.0


class Work:
    """What is under way, and when something last was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._last = time.monotonic()

    def __enter__(self) -> None:
        with self._lock:
            self._active += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._active -= 1
            self._last = time.monotonic()

    def quiet_for(self) -> float:
        """Return for how long nothing has been under way."""
        with self._lock:
            return 0.0 if self._active else time.monotonic() - self._last


WORK: Final = Work()


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        with WORK:
            time.sleep(int(self.path.strip("/") or 0) / 1000)
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for each request."""


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


async def main() -> None:
    """Serve until SIGTERM, and then until it is quiet."""
    host = os.environ.get("HOST", "0.0.0.0")
    http = ThreadingHTTPServer((host, HTTP_PORT), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    calls = grpc.server(ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
    calls.add_generic_rpc_handlers((Calls(),))
    calls.add_insecure_port(f"{host}:{GRPC_PORT}")
    calls.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await asyncio.start_server(session, host, TCP_PORT):
        await stop.wait()
        asked = time.monotonic()
        while min(WORK.quiet_for(), time.monotonic() - asked) < QUIET_SECONDS:
            if time.monotonic() - asked > LONGEST_SECONDS:
                break
            await asyncio.sleep(0.05)
    calls.stop(None)
    http.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
