"""gRPC's interoperability cases through two sidecars: grpcio and @grpc/grpc-js call, and each of them serves.

The cases carry their names of doc/interop-test-descriptions.md in grpc/grpc. docs/conformance.md says which do not
apply, and why.
"""

from __future__ import annotations

import gzip
import json
import queue
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest

from tests.support.clients import interop
from tests.support.clients.drivers import NODE_INTEROP, run_node, serving_node
from tests.support.clients.interop import (
    SERVICE,
    body_of,
    encode,
    input_request,
    output_request,
    simple_request,
    status,
)
from tests.support.proxy.pair import Pair
from tests.support.proxy.sidecar import Address
from tests.support.wire import http2
from tests.support.wire.grpc_service import Client, StatusCode, metadata_of

BIG: Final = 314_159
METADATA: Final = ((interop.ECHO_INITIAL, "test_initial_metadata_value"), (interop.ECHO_TRAILING, b"\xab\xab\xab"))
CONCURRENT: Final = 100
"""Large calls at once on one channel; the description says 1,000, which takes ten times as long and tells no more."""
TRUE, FALSE = encode((1, 1)), encode((1, 0))


@pytest.fixture(scope="module")
def by_grpcio(pair: Pair) -> Iterator[Address]:
    """A service of grpcio's."""
    app = pair.app("interop")
    server = interop.InteropServer(app.host, app.port)
    yield pair.address("interop")
    server.stop()


@pytest.fixture(scope="module")
def by_grpc_js(pair: Pair) -> Iterator[Address]:
    """A service of grpc-js's."""
    app = pair.app("interop-js")
    with serving_node("interop_server.cjs", f"{app.host}:{app.port}"):
        yield pair.address("interop-js")


@pytest.fixture(params=["grpcio", "grpc-js"])
def address(request: pytest.FixtureRequest) -> Address:
    found: Address = request.getfixturevalue("by_" + request.param.replace("-", "_"))
    return found


@pytest.fixture
def client(address: Address) -> Iterator[Client]:
    with Client(address.host, address.port) as found:
        yield found


def unary(client: Client, method: str = "UnaryCall", service: str = SERVICE) -> Any:
    return client.channel.unary_unary(f"/{service}/{method}")


def collect(client: Client) -> Any:
    return client.channel.stream_unary(f"/{SERVICE}/StreamingInputCall")


def duplex(client: Client) -> Any:
    return client.channel.stream_stream(f"/{SERVICE}/FullDuplexCall")


def sizes(answers: Iterator[bytes]) -> list[int]:
    return [len(body_of(answer, 1)) for answer in answers]


def test_empty_unary(client: Client) -> None:
    assert unary(client, "EmptyCall")(b"", timeout=60) == b""


def test_large_unary(client: Client) -> None:
    assert body_of(unary(client)(simple_request(BIG, 271_828), timeout=60), 1) == bytes(BIG)


# The servers' libraries do not tell whether a message came compressed, so the probe of the next two cases cannot be
# answered; what can be seen is that such messages arrive whole.


@pytest.mark.parametrize("compression", interop.COMPRESSIONS)
def test_client_compressed_unary(client: Client, compression: Any) -> None:
    answer = unary(client)(simple_request(BIG, 271_828), compression=compression, timeout=60)
    assert body_of(answer, 1) == bytes(BIG)


@pytest.mark.parametrize("compression", interop.COMPRESSIONS)
def test_client_compressed_streaming(client: Client, compression: Any) -> None:
    requests = iter([input_request(27_182), input_request(45_904)])
    assert interop.aggregated_size(collect(client)(requests, compression=compression, timeout=60)) == 73_086


def messages_on_the_wire(address: Address, method: str, request: bytes) -> list[tuple[int, bytes]]:
    """The flag and the bytes of each message of the answer. Client libraries hide the flag, so this is by hand."""
    window = http2.setting(4, 1 << 20)
    head = (
        *http2.replaced(b":path", f"/{SERVICE}/{method}".encode(), http2.POST),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"grpc-accept-encoding", b"gzip"),
    )
    message = b"\0" + len(request).to_bytes(4, "big") + request
    data = b""
    with http2.RawClient((address.host, address.port), window) as client:
        client.send(http2.frame(http2.WINDOW_UPDATE, 0, 0, http2.number(1 << 20)), http2.request(head, end=False))
        for start in range(0, len(message), 16_384):
            client.send(http2.frame(http2.DATA, 0, 1, message[start : start + 16_384]))
        client.send(http2.frame(http2.DATA, http2.END_STREAM, 1))
        while not client.wait(lambda f: f.type in (http2.DATA, http2.HEADERS)).ends_stream():
            last = client.frames[-1]
            data += last.payload if last.type == http2.DATA else b""
    messages = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        messages.append((data[0], data[5 : 5 + size]))
        data = data[5 + size :]
    return messages


def test_server_compressed_unary(by_grpcio: Address) -> None:
    for wanted in (1, 0):
        request = simple_request(BIG, 1000, (6, TRUE if wanted else FALSE))
        ((flag, message),) = messages_on_the_wire(by_grpcio, "UnaryCall", request)
        assert flag == wanted
        assert body_of(gzip.decompress(message) if flag else message, 1) == bytes(BIG)


def test_server_compressed_streaming(by_grpcio: Address) -> None:
    request = encode((2, encode((1, 31_415), (3, TRUE))), (2, encode((1, 92_653), (3, FALSE))))
    found = messages_on_the_wire(by_grpcio, "StreamingOutputCall", request)
    assert [flag for flag, _ in found] == [1, 0]
    bodies = [body_of(gzip.decompress(message) if flag else message, 1) for flag, message in found]
    assert bodies == [bytes(31_415), bytes(92_653)]


def test_client_streaming(client: Client) -> None:
    requests = (input_request(size) for size in (27_182, 8, 1_828, 45_904))
    assert interop.aggregated_size(collect(client)(requests, timeout=60)) == 74_922


def test_server_streaming(client: Client) -> None:
    call = client.channel.unary_stream(f"/{SERVICE}/StreamingOutputCall")
    wanted = [31_415, 9, 2_653, 58_979]
    assert sizes(call(output_request(wanted), timeout=60)) == wanted


def test_ping_pong(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = duplex(client)(iter(requests.get, None), timeout=60)
    for size, wanted in ((27_182, 31_415), (8, 9), (1_828, 2_653), (45_904, 58_979)):
        requests.put(output_request([wanted], size))
        assert len(body_of(next(answers), 1)) == wanted
    requests.put(None)
    assert list(answers) == []


def test_empty_stream(client: Client) -> None:
    assert list(duplex(client)(iter(()), timeout=60)) == []


def test_custom_metadata(client: Client) -> None:
    answer, call = unary(client).with_call(simple_request(BIG, 271_828), metadata=METADATA, timeout=60)
    assert len(body_of(answer, 1)) == BIG
    stream = duplex(client)(iter([output_request([BIG], 271_828)]), metadata=METADATA, timeout=60)
    assert sizes(stream) == [BIG]
    for found in (call, stream):
        assert metadata_of(found.initial_metadata())[interop.ECHO_INITIAL] == "test_initial_metadata_value"
        assert metadata_of(found.trailing_metadata())[interop.ECHO_TRAILING] == b"\xab\xab\xab"


def test_status_code_and_message(client: Client) -> None:
    text = "test status message"
    wanted = (7, status(2, text))
    for call in (
        lambda: unary(client)(encode(wanted), timeout=60),
        lambda: list(duplex(client)(iter([encode(wanted)]), timeout=60)),
    ):
        error = client.failure(call)
        assert (error.code(), error.details()) == (StatusCode.UNKNOWN, text)


def test_special_status_message(client: Client) -> None:
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    error = client.failure(lambda: unary(client)(encode((7, status(2, text))), timeout=60))
    assert (error.code(), error.details()) == (StatusCode.UNKNOWN, text)


def test_unimplemented_method(client: Client) -> None:
    error = client.failure(lambda: unary(client, "UnimplementedCall")(b"", timeout=60))
    assert error.code() is StatusCode.UNIMPLEMENTED


def test_unimplemented_service(client: Client) -> None:
    call = unary(client, "UnimplementedCall", "grpc.testing.UnimplementedService")
    assert client.failure(lambda: call(b"", timeout=60)).code() is StatusCode.UNIMPLEMENTED


def test_cancel_after_begin(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    call = collect(client).future(iter(requests.get, None), timeout=60)
    call.cancel()
    assert call.code() is StatusCode.CANCELLED
    requests.put(None)


def test_cancel_after_first_response(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = duplex(client)(iter(requests.get, None), timeout=60)
    requests.put(output_request([31_415], 27_182))
    assert len(body_of(next(answers), 1)) == 31_415
    answers.cancel()
    assert client.failure(lambda: next(answers)).code() is StatusCode.CANCELLED
    requests.put(None)


def test_timeout_on_sleeping_server(client: Client) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    requests.put(output_request([], 27_182))
    answers = duplex(client)(iter(requests.get, None), timeout=0.001)
    assert client.failure(lambda: list(answers)).code() is StatusCode.DEADLINE_EXCEEDED
    requests.put(None)


def test_concurrent_large_unary(client: Client) -> None:
    request = simple_request(BIG, 271_828)
    calls = [unary(client).future(request, timeout=60) for _ in range(CONCURRENT)]
    assert {len(body_of(call.result(), 1)) for call in calls} == {BIG}


# The same by @grpc/grpc-js, a client that shares no code with grpcio.


@cache
def called_by_grpc_js(host: str, port: int) -> dict[str, str]:
    """What became of each case: `ok`, or what was wrong."""
    found: dict[str, str] = json.loads(run_node("interop.cjs", f"{host}:{port}"))
    return found


@pytest.mark.parametrize("case", NODE_INTEROP)
def test_called_by_grpc_js(address: Address, case: str) -> None:
    assert called_by_grpc_js(address.host, address.port)[case] == "ok"
