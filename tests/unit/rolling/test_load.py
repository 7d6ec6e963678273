"""The callers of `make deployments`: a failure is counted, and the next call is a fresh one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.rolling.load import HttpCaller
from tests.rolling.server import Handler, HttpServer

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def calling(port: int) -> Iterator[HttpCaller]:
    caller = HttpCaller(HOST, port)
    try:
        yield caller
    finally:
        if caller._kept is not None:
            caller._kept.close()


@contextmanager
def serving(port: int) -> Iterator[None]:
    server = HttpServer((HOST, port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_caller_whose_first_connection_was_refused_calls_again() -> None:
    port = free_port()
    with calling(port) as caller:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                caller.call(0)
        with serving(port):
            caller.call(0)
            caller.call(0)


def test_a_kept_connection_that_ended_meanwhile_is_no_failure() -> None:
    port = free_port()
    with serving(port), calling(port) as caller:
        caller.call(0)
        assert caller._kept is not None
        caller._kept.sock.shutdown(socket.SHUT_RDWR)
        caller.call(0)


def test_a_wrong_answer_is_a_failure() -> None:
    with socket.create_server((HOST, 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with calling(server.getsockname()[1]) as caller, pytest.raises(ValueError, match="503"):
            caller.call(0)
        thread.join()
