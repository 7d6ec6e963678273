"""The three ways in which an app stops: each does to a request under way and to a late one what it says."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from infra.local.network import LoopbackNetwork
from tests.rolling import server
from tests.rolling.server import HTTP_PORT, TCP_PORT, Stop, Work
from tests.support.waiting import until


@contextmanager
def running(stop: Stop) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    network = LoopbackNetwork()
    host = network.take()
    command = [sys.executable, str(Path(server.__file__)), stop]
    process = subprocess.Popen(command, env={**os.environ, "HOST": host}, stdout=subprocess.PIPE)
    try:
        until(lambda: listens(host, TCP_PORT), 30, "the server")
        yield process, host
    finally:
        process.kill()
        process.communicate()
        network.close()


def listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


@contextmanager
def slow_request(process: subprocess.Popen[bytes], host: str) -> Iterator[http.client.HTTPConnection]:
    """Send a request that takes a second, and wait until it is under way."""
    with closing(http.client.HTTPConnection(host, HTTP_PORT, timeout=20)) as connection:
        connection.request("GET", "/1000")
        assert process.stdout is not None
        assert process.stdout.readline() == b"/1000\n"
        yield connection


def test_ordinary_accepts_no_more_and_finishes_what_is_under_way() -> None:
    with running(Stop.ORDINARY) as (process, host), slow_request(process, host) as under_way:
        process.send_signal(signal.SIGTERM)
        until(lambda: not listens(host, HTTP_PORT), 20, "the end of listening")
        assert not listens(host, TCP_PORT)
        assert under_way.getresponse().status == 200
        assert process.wait(20) == 0


def test_abrupt_cuts_what_is_under_way() -> None:
    with running(Stop.ABRUPT) as (process, host), slow_request(process, host) as under_way:
        process.send_signal(signal.SIGTERM)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            under_way.getresponse()
        assert process.wait(20) == 0


def test_patient_takes_late_requests() -> None:
    with running(Stop.PATIENT) as (process, host), slow_request(process, host) as under_way:
        process.send_signal(signal.SIGTERM)
        with slow_request(process, host) as late:
            assert under_way.getresponse().status == late.getresponse().status == 200
        assert process.wait(20) == 0


def test_it_ends_when_nothing_is_under_way_and_takes_nothing_after_that() -> None:
    work = Work()
    with work:
        assert not work.end()
    with work:
        assert not work.end(), "what comes before the end is served"
    assert work.end()
    begun = threading.Event()

    def begin() -> None:
        with work:
            begun.set()

    late = threading.Thread(target=begin, daemon=True)  # it waits until the process ends
    late.start()
    late.join(0.05)
    assert (late.is_alive(), begun.is_set(), work.active) == (True, False, 0)
