"""The HTTP service for servers of production: one app for WSGI (gunicorn) and one for ASGI (uvicorn).

A request may ask to be answered late: `/300` after 300 ms. One that takes a second or more is announced on stdout, so
that a test knows that it is under way. The servers stop in their own way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request with its path."""
    path = str(environ["PATH_INFO"])
    time.sleep(_seconds(path))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(path)))])
    return [path.encode()]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """Answer a request with its path."""
    path = str(scope["path"])
    await asyncio.sleep(_seconds(path))
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(path)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": path.encode()})


def _seconds(path: str) -> float:
    seconds = int(path.strip("/") or 0) / 1000
    if seconds >= 1:
        print(path, flush=True)
    return seconds
