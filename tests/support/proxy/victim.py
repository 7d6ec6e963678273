"""An innocent client in a process of its own, with a service of its own: `python -m tests.support.proxy.victim ADDR`.

Rules:
- It says its service's port, is told where the sidecar offers that service, and asks once a millisecond over one
  connection until its standard input ends. Then it says how long the answers took, in seconds.
- Every answer must be the one to its request: they carry numbers.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PAUSE_SECONDS: Final = 0.001
STOP_SECONDS: Final = 20.0


class Victim:
    """The process, as the one who starts it sees it."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.proxy.victim", address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = address
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def start(self, host: str, port: int) -> None:
        """Begin to ask."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{host} {port}\n")
        self._process.stdin.flush()

    def stop(self) -> list[float]:
        """Stop; the times of all answers. Raises RuntimeError when one was wrong or missing."""
        try:
            told, _ = self._process.communicate(timeout=STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0:
            raise RuntimeError("the victim lost its connection, or got a wrong answer; see its standard error")
        found: list[float] = json.loads(told)
        return found


def _serve(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    with connection:
        while data := connection.recv(65_536):
            rest += data
            while b"\r\n\r\n" in rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                number = head.split(b" ", 2)[1]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))


def _ask(client: socket.socket, number: int) -> None:
    client.sendall(b"GET /%d HTTP/1.1\r\nHost: victim\r\n\r\n" % number)
    data = b""
    while not data.endswith(b"\r\n\r\n/%d" % number):
        piece = client.recv(65_536)
        if not piece or len(data) > 4_096:
            raise RuntimeError(f"no answer to {number}, or a wrong one: {data!r}")
        data += piece


def main() -> None:
    """Serve, and ask until standard input ends."""
    listener = socket.create_server((sys.argv[1], 0))
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    host, port = sys.stdin.readline().split()
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    times: list[float] = []
    with socket.create_connection((host, int(port)), timeout=STOP_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not ended.is_set() or not times:
            began = time.perf_counter()
            _ask(client, len(times))
            times.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
