"""cache: a key-value server with a line protocol over TCP.

``GET key``, ``SET key value`` and ``INCR key``; one line is answered to each. Values live as long as the process.
"""

from __future__ import annotations

import asyncio
import os
import signal

_values: dict[str, str] = {}


def answer(line: str) -> str:
    """Return the answer to one command."""
    match line.split(" ", 2):
        case ["GET", key]:
            return _values.get(key, "")
        case ["SET", key, value]:
            _values[key] = value
            return "OK"
        case ["INCR", key]:
            _values[key] = str(int(_values.get(key, "0")) + 1)
            return _values[key]
        case _:
            return "ERROR"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one client until it goes."""
    try:
        while line := await reader.readline():
            writer.write(answer(line.decode().rstrip("\n")).encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass  # the client is gone
    finally:
        writer.close()


async def main() -> None:
    """Serve until SIGTERM, and then what is already connected for a few seconds more."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, os.environ.get("HOST", "0.0.0.0"), 6380)  # noqa: S104 - in a container
    async with server:
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)


if __name__ == "__main__":
    asyncio.run(main())
