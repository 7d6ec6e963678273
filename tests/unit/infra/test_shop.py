"""The example's programs, without a mesh."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from infra.cli.report import read_tally
from infra.examples.shop.apps import cache
from tests.support.waiting import until

SHOP = Path("infra/examples/shop")


def test_cache_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_values", {})
    assert [cache.answer(line) for line in ("GET a", "SET a b c", "GET a", "INCR n", "INCR n", "nonsense")] == [
        "",
        "OK",
        "b c",
        "1",
        "2",
        "ERROR",
    ]


SLOW = """
import sys
from apps.shop import Server
def answer(path):
    if path == "/slow":
        print("begun", flush=True)
        sys.stdin.readline()
    return 200, {"path": path}
server = Server(0, answer)
print(server.server_port, flush=True)
server.run()
"""


def test_a_server_accepts_no_more_and_finishes_what_it_has_before_it_ends() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW],
        cwd=SHOP,
        env={**os.environ, "HOST": "127.0.0.1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        answers: list[tuple[int, str | None]] = []

        def call(path: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", path)
            answer = connection.getresponse()
            answers.append((answer.status, answer.getheader("Connection")))
            connection.close()

        def refuses() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0

        call("/")
        slow = threading.Thread(target=call, args=("/slow",))
        slow.start()
        assert server.stdout.readline() == "begun\n"
        server.send_signal(signal.SIGTERM)
        until(refuses, 20, "the end of the listener")
        server.stdin.write("\n")
        server.stdin.flush()
        slow.join()
        assert server.wait(20) == 0
    assert answers == [(200, None), (200, "close")]


WEB = """
import json, os
from apps import shop
def answer(path):
    return 200, {"order": {"task": "t1", "version": "1"}} if path != "/things/1" else {}
server = shop.Server(0, answer)
print(server.server_port, flush=True)
server.run()
"""

LOAD = """
import sys
from apps import load
port = int(sys.argv[1])
load.Peer = lambda name, _: real("127.0.0.1", port)
from apps.shop import Peer as real
load.main()
"""


def test_the_load_generator_counts_every_request(tmp_path: Path) -> None:
    environment = {**os.environ, "HOST": "127.0.0.1", "RATE": "200", "WORKERS": "2", "REPORT_SECONDS": "0.05"}
    output = tmp_path / "load"
    with subprocess.Popen(
        [sys.executable, "-c", WEB], cwd=SHOP, env=environment, stdout=subprocess.PIPE, text=True
    ) as web:
        assert web.stdout is not None
        port = web.stdout.readline().strip()
        with output.open("w") as file:
            load = subprocess.Popen([sys.executable, "-c", LOAD, port], cwd=SHOP, env=environment, stdout=file)
        began = time.time()
        until(lambda: read_tally(output.read_text()).sent >= 20, 20, "some requests")
        load.send_signal(signal.SIGTERM)
        assert load.wait(20) == 0
        web.send_signal(signal.SIGTERM)
        assert web.wait(20) == 0
    tally = read_tally(output.read_text())
    assert tally.final
    assert tally.succeeded + tally.failed == tally.sent
    assert tally.failed > 0  # the answers to the second worker hold no order
    assert tally.answers["t1"].count == tally.succeeded
    assert tally.answers["t1"].first_at >= began - 1
    assert "KeyError" in tally.errors[-1]
    json.dumps(tally.errors)
