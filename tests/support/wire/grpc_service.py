"""A gRPC service of plain bytes, with grpcio: no generated code, the methods are named by what they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # grpcio comes without types

SERVICE: Final = "tramo.test.Calls"
OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
STOP_SECONDS: Final = 5.0

Context = Any  # grpc.ServicerContext
RpcError = grpc.RpcError
StatusCode = grpc.StatusCode


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # its base has no types
    """A server of the service. What happens on it is recorded."""

    def __init__(self, name: str, address: str, port: int = 0, threads: int = 16) -> None:
        self.name = name
        self.calls = 0
        self.produced = 0
        self.waiting = threading.Semaphore(0)  # released by each call of `Wait` as it begins
        self.cancelled = threading.Semaphore(0)  # released by each call that was cancelled
        self.deadlines: list[float | None] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.health = b"\x08\x01"  # the HealthCheckResponse: SERVING
        self.asked_for: list[bytes] = []  # the HealthCheckRequests
        self._server = grpc.server(ThreadPoolExecutor(threads), options=OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self.address, self.port = address, self._server.add_insecure_port(f"{address}:{port}")
        self._server.start()

    def stop(self, grace: float | None = None) -> None:
        """Take no more calls; wait for those under way, at most the grace in seconds."""
        self._server.stop(grace).wait(STOP_SECONDS + (grace or 0))

    def service(self, handler_call_details: Any) -> Any:
        """grpcio asks which method is meant."""
        method = handler_call_details.method.removeprefix(f"/{SERVICE}/")
        self.metadata.append(dict(handler_call_details.invocation_metadata))
        make, behaviour = {
            "Echo": (grpc.unary_unary_rpc_method_handler, self._echo),
            "Name": (grpc.unary_unary_rpc_method_handler, self._name),
            "Fail": (grpc.unary_unary_rpc_method_handler, self._fail),
            "Wait": (grpc.unary_unary_rpc_method_handler, self._wait),
            "Produce": (grpc.unary_stream_rpc_method_handler, self._produce),
            "FailLate": (grpc.unary_stream_rpc_method_handler, self._fail_late),
            "Sum": (grpc.stream_unary_rpc_method_handler, self._sum),
            "Stop": (grpc.stream_unary_rpc_method_handler, self._stop),
            "/grpc.health.v1.Health/Check": (grpc.unary_unary_rpc_method_handler, self._health),
            "Chat": (grpc.stream_stream_rpc_method_handler, self._chat),
        }.get(method, (None, None))
        return None if make is None else make(behaviour)

    def _health(self, request: bytes, context: Context) -> bytes:
        self.asked_for.append(request)
        return self.health

    def _begin(self, context: Context) -> None:
        self.calls += 1
        self.deadlines.append(context.time_remaining())

    def _echo(self, request: bytes, context: Context) -> bytes:
        self._begin(context)
        context.send_initial_metadata((("served-by", self.name),))
        context.set_trailing_metadata((("size", str(len(request))), ("sum-bin", bytes(range(250, 256)))))
        return request

    def _name(self, request: bytes, context: Context) -> bytes:
        self._begin(context)
        return self.name.encode()

    def _fail(self, request: bytes, context: Context) -> bytes:
        """Fail with the code and message in the request: `5 not here`."""
        self._begin(context)
        number, _, message = request.decode().partition(" ")
        context.set_trailing_metadata((("reason", "asked-for"),))
        context.abort(CODES[int(number)], message)
        return b""

    def _wait(self, request: bytes, context: Context) -> bytes:
        """Do not answer before the call is cancelled."""
        self._begin(context)
        gone = threading.Event()
        if context.add_callback(gone.set):
            self.waiting.release()
            gone.wait(30)
        self.cancelled.release()
        return b""

    def _produce(self, request: bytes, context: Context) -> Iterator[bytes]:
        """As many messages as the request says, each of as many bytes: `3 10`."""
        self._begin(context)
        count, size = map(int, request.split())
        context.add_callback(self.cancelled.release)
        for index in range(count):
            self.produced += 1
            yield index.to_bytes(4, "big") + bytes(max(size - 4, 0))

    def _fail_late(self, request: bytes, context: Context) -> Iterator[bytes]:
        self._begin(context)
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.DATA_LOSS, "after two")

    def _sum(self, requests: Iterable[bytes], context: Context) -> bytes:
        self._begin(context)
        return str(sum(len(request) for request in requests)).encode()

    def _stop(self, requests: Iterator[bytes], context: Context) -> bytes:
        """Answer after the first message, whatever follows."""
        self._begin(context)
        next(requests)
        return b"enough"

    def _chat(self, requests: Iterable[bytes], context: Context) -> Iterator[bytes]:
        self._begin(context)
        for request in requests:
            yield request.upper()


CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Client:
    """A channel to an address, and its calls."""

    def __init__(self, host: str, port: int) -> None:
        self.channel = grpc.insecure_channel(f"{host}:{port}", options=OPTIONS)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def unary(self, method: str) -> Any:
        """A call with one message each way."""
        return self.channel.unary_unary(f"/{SERVICE}/{method}")

    def produce(self, method: str = "Produce") -> Any:
        """A call with many answers."""
        return self.channel.unary_stream(f"/{SERVICE}/{method}")

    def collect(self, method: str = "Sum") -> Any:
        """A call with many requests."""
        return self.channel.stream_unary(f"/{SERVICE}/{method}")

    def chat(self) -> Any:
        """A call with many of both."""
        return self.channel.stream_stream(f"/{SERVICE}/Chat")

    def failure(self, call: Callable[[], object]) -> Any:
        """The error of a call that must fail."""
        try:
            call()
        except grpc.RpcError as error:
            return error
        raise AssertionError("the call did not fail")


def metadata_of(pairs: Any) -> dict[str, str | bytes]:
    """Metadata as a mapping."""
    return {pair.key: pair.value for pair in pairs or ()}


class Load:
    """Threads that call without end; `stop` returns what failed."""

    def __init__(self, client: Client, threads: int = 4) -> None:
        self.done = 0
        self.names: dict[bytes, int] = {}
        self.failures: list[Any] = []
        self._client = client
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        call = self._client.unary("Name")
        while not self._stopped.is_set():
            try:
                name = call(b"", timeout=60)
            except grpc.RpcError as error:
                with self._lock:
                    self.failures.append(error)
            else:
                with self._lock:
                    self.done += 1
                    self.names[name] = self.names.get(name, 0) + 1

    def stop(self) -> list[Any]:
        """End the load; the calls that failed."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS + 10)
        return self.failures


def settled(value: Callable[[], int], seconds: float, quiet: float = 0.3) -> int:
    """The value once it has not changed for a while. Raises TimeoutError when it goes on changing."""
    deadline = time.monotonic() + seconds
    last, since = value(), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.02)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return now
    raise TimeoutError(f"still changing after {seconds} s: {last}")
