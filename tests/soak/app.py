"""python -m tests.soak.app ADDRESS: the application of one task, with a server for each protocol.

8080 is HTTP/1.1 and WebSocket, by aiohttp: POST answers with its body, GET /{size} with as many bytes in pieces, /ws
echoes messages. 8081 is gRPC, by grpcio. 8082 is TCP and echoes. It ends with SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc.aio  # type: ignore[import-untyped]  # grpcio comes without types
from aiohttp import web

from tests.support.wire.grpc_service import OPTIONS

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 8081
TCP_PORT: Final = 8082
SERVICE: Final = "tramo.soak.Calls"
PIECE: Final = bytes(range(256)) * 32


async def post(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def produce(request: web.Request) -> web.StreamResponse:
    """So many bytes, without a length: chunked."""
    left = int(request.match_info["size"])
    response = web.StreamResponse()
    await response.prepare(request)
    while left:
        piece = PIECE[:left]
        await response.write(piece)
        left -= len(piece)
    await response.write_eof()
    return response


async def converse(request: web.Request) -> web.WebSocketResponse:
    """Echo messages up to the client's close."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # its base has no types
    """Echo answers with its message, Chat with each of them in upper case."""

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method == f"/{SERVICE}/Echo":
            return grpc.unary_unary_rpc_method_handler(self._echo)
        if handler_call_details.method == f"/{SERVICE}/Chat":
            return grpc.stream_stream_rpc_method_handler(self._chat)
        return None

    async def _echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def _chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, up to the client's end."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    finally:
        writer.close()


async def main(address: str) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    application = web.Application(client_max_size=1 << 24)
    application.add_routes([web.post("/", post), web.get("/ws", converse), web.get(r"/{size:\d+}", produce)])
    runner = web.AppRunner(application, keepalive_timeout=3600, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, address, HTTP_PORT).start()
    calls = grpc.aio.server(options=OPTIONS)
    calls.add_generic_rpc_handlers((Calls(),))
    calls.add_insecure_port(f"{address}:{GRPC_PORT}")
    await calls.start()
    async with await asyncio.start_server(echo, address, TCP_PORT):
        await ended.wait()
    await calls.stop(None)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
