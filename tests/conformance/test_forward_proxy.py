"""Clients of others' making that find services by the forward proxy: their own setting for it, names in URLs."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from typing import Final
from urllib.request import ProxyHandler, build_opener

import aiohttp
import grpc  # type: ignore[import-untyped]  # grpcio comes without types
import httpx
import pytest

from tests.support.clients import interop
from tests.support.clients.drivers import serving_node
from tests.support.clients.matrix import pattern
from tests.support.proxy.pair import Pair

SIZE: Final = 100_000
URL: Final = f"http://web/bytes/{SIZE}"
SECONDS: Final = 60.0


@pytest.fixture(scope="module")
def proxy(pair: Pair) -> Iterator[str]:
    """The forward proxy of a task that can call the service `web`."""
    one, two = pair.app("web"), pair.app("web2")
    with serving_node("server.cjs", one.host, str(one.port), str(two.port)):
        pair.address("web")
        yield f"http://{pair.caller.environment['TRAMO_FORWARD_PROXY']}"


def by_curl(proxy: str) -> bytes:
    return _curl("--proxy", proxy)


def by_curl_and_connect(proxy: str) -> bytes:
    return _curl("--proxy", proxy, "--proxytunnel")


def by_curl_and_connect_with_http2(proxy: str) -> bytes:
    return _curl("--proxy", proxy, "--proxytunnel", "--http2-prior-knowledge")


def _curl(*options: str) -> bytes:
    command = ["curl", "-sS", "--fail", "--max-time", f"{SECONDS:g}", *options, URL]
    return subprocess.run(command, capture_output=True, check=True).stdout


def by_httpx(proxy: str) -> bytes:
    with httpx.Client(proxy=proxy, timeout=SECONDS) as client:
        return client.get(URL).raise_for_status().content


def by_aiohttp(proxy: str) -> bytes:
    async def get() -> bytes:
        timeout = aiohttp.ClientTimeout(SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(URL, proxy=proxy) as response:
            return await response.read()

    return asyncio.run(get())


def by_urllib(proxy: str) -> bytes:
    with build_opener(ProxyHandler({"http": proxy})).open(URL, timeout=SECONDS) as response:
        body: bytes = response.read()
        return body


CLIENTS: Final = (
    by_curl,
    by_curl_and_connect,
    by_curl_and_connect_with_http2,
    by_httpx,
    by_aiohttp,
    by_urllib,
)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_http(proxy: str, client: Callable[[str], bytes]) -> None:
    assert client(proxy) == pattern(SIZE)


def test_grpc(proxy: str, pair: Pair) -> None:
    app = pair.app("interop")
    server = interop.InteropServer(app.host, app.port)
    try:
        pair.address("interop")
        options = (("grpc.enable_http_proxy", 1), ("grpc.http_proxy", proxy), ("grpc.use_local_subchannel_pool", 1))
        with grpc.insecure_channel("dns:///interop:80", options=options) as channel:
            call = channel.unary_unary(f"/{interop.SERVICE}/UnaryCall")
            assert interop.body_of(call(interop.simple_request(SIZE), timeout=SECONDS), 1) == bytes(SIZE)
    finally:
        server.stop()


def test_a_name_that_nobody_has(proxy: str) -> None:
    with httpx.Client(proxy=proxy, timeout=SECONDS) as client:
        response = client.get("http://example.com/")
    assert (response.status_code, response.headers["tramo-response-flags"]) == (404, "NR")
