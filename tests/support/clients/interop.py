"""The service of gRPC's interoperability tests, and its messages, for grpcio without generated code.

The cases are described in doc/interop-test-descriptions.md of grpc/grpc, the messages in its src/proto/grpc/testing.
Only the fields that the cases use are here. A message is written as (field number, value) pairs: whole numbers become
varints, bytes become length-delimited fields, which is all that these messages have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio comes without types

from tests.support.wire.grpc_service import CODES, OPTIONS, STOP_SECONDS, Context

SERVICE: Final = "grpc.testing.TestService"
ECHO_INITIAL: Final = "x-grpc-test-echo-initial"
ECHO_TRAILING: Final = "x-grpc-test-echo-trailing-bin"
COMPRESSIONS: Final = (grpc.Compression.Gzip, grpc.Compression.Deflate, grpc.Compression.NoCompression)

Field = tuple[int, int | bytes]

# Messages.


def encode(*fields: Field) -> bytes:
    """A message with these fields."""
    message = b""
    for number, value in fields:
        if isinstance(value, int):
            message += _varint(number << 3) + _varint(value)
        else:
            message += _varint(number << 3 | 2) + _varint(len(value)) + value
    return message


def decode(message: bytes) -> list[Field]:
    """The fields of a message. Raises ValueError for kinds of fields that the interop messages do not have."""
    fields: list[Field] = []
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        value, position = _read_varint(message, position)
        if key & 7 == 0:
            fields.append((key >> 3, value))
        elif key & 7 == 2:
            fields.append((key >> 3, message[position : position + value]))
            position += value
        else:
            raise ValueError(f"field {key >> 3} has wire type {key & 7}")
    return fields


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def number_in(fields: list[Field], number: int) -> int:
    """The number in this field, 0 when it is not there."""
    found = [value for key, value in fields if key == number and isinstance(value, int)]
    return found[-1] if found else 0


def bytes_in(fields: list[Field], number: int) -> bytes:
    """The bytes in this field, none when it is not there."""
    found = [value for key, value in fields if key == number and isinstance(value, bytes)]
    return found[-1] if found else b""


def payload(size: int) -> bytes:
    """Payload: so many zeros."""
    return encode((2, bytes(size)))


def body_of(message: bytes, number: int) -> bytes:
    """The body of the Payload in this field."""
    return bytes_in(decode(bytes_in(decode(message), number)), 2)


def status(code: int, text: str) -> bytes:
    """EchoStatus."""
    return encode((1, code), (2, text.encode()))


def simple_request(response_size: int = 0, size: int = 0, *more: Field) -> bytes:
    """SimpleRequest."""
    return encode((2, response_size), (3, payload(size)), *more)


def output_request(response_sizes: Iterable[int], size: int = 0, *more: Field) -> bytes:
    """StreamingOutputCallRequest."""
    return encode(*((2, encode((1, count))) for count in response_sizes), (3, payload(size)), *more)


def input_request(size: int) -> bytes:
    """StreamingInputCallRequest."""
    return encode((1, payload(size)))


def aggregated_size(response: bytes) -> int:
    """Of a StreamingInputCallResponse."""
    return number_in(decode(response), 1)


# The server.


class InteropServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # its base has no types
    """The server of the cases."""

    def __init__(self, address: str, port: int, threads: int = 32) -> None:
        self._server = grpc.server(ThreadPoolExecutor(threads), options=OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self._server.add_insecure_port(f"{address}:{port}")
        self._server.start()

    def stop(self) -> None:
        """Cut all calls and stop."""
        self._server.stop(None).wait(STOP_SECONDS)

    def service(self, handler_call_details: Any) -> Any:
        """grpcio asks which method is meant."""
        methods: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
            "EmptyCall": (grpc.unary_unary_rpc_method_handler, _empty),
            "UnaryCall": (grpc.unary_unary_rpc_method_handler, _unary),
            "StreamingInputCall": (grpc.stream_unary_rpc_method_handler, _input),
            "StreamingOutputCall": (grpc.unary_stream_rpc_method_handler, _output),
            "FullDuplexCall": (grpc.stream_stream_rpc_method_handler, _duplex),
        }
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        if service != SERVICE or method not in methods:
            return None
        make, behaviour = methods[method]
        return make(behaviour)


def _echo_metadata(context: Context) -> None:
    for key, value in context.invocation_metadata():
        if key == ECHO_INITIAL:
            context.send_initial_metadata(((key, value),))
        elif key == ECHO_TRAILING:
            context.set_trailing_metadata(((key, value),))


def _echo_status(fields: list[Field], context: Context) -> None:
    wanted = decode(bytes_in(fields, 7))
    if code := number_in(wanted, 1):
        context.abort(CODES[code], bytes_in(wanted, 2).decode())


def _empty(request: bytes, context: Context) -> bytes:
    return b""


def _unary(request: bytes, context: Context) -> bytes:
    fields = decode(request)
    _echo_metadata(context)
    _echo_status(fields, context)
    if number_in(decode(bytes_in(fields, 6)), 1):
        context.set_compression(grpc.Compression.Gzip)
    return encode((1, payload(number_in(fields, 2))))


def _input(requests: Iterable[bytes], context: Context) -> bytes:
    return encode((1, sum(len(body_of(request, 1)) for request in requests)))


def _output(request: bytes, context: Context) -> Iterator[bytes]:
    fields = decode(request)
    _echo_status(fields, context)
    wanted = [decode(value) for number, value in fields if number == 2 and isinstance(value, bytes)]
    compressed = [bool(number_in(decode(bytes_in(parameters, 3)), 1)) for parameters in wanted]
    if any(compressed):
        context.set_compression(grpc.Compression.Gzip)
    for parameters, compress in zip(wanted, compressed, strict=True):
        if not compress:
            context.disable_next_message_compression()
        yield encode((1, payload(number_in(parameters, 1))))


def _duplex(requests: Iterable[bytes], context: Context) -> Iterator[bytes]:
    _echo_metadata(context)
    for request in requests:
        yield from _output(request, context)
