"""load: calls web by name at a steady rate and writes what it saw, one JSON line a second on standard output.

A closed loop: WORKERS threads with a kept connection each, together at most RATE requests a second. Each line is
cumulative::

    {"time": 1763900000.1, "sent": 200, "succeeded": 200, "failed": 0, "final": false,
     "answers": {"<task of orders>": {"version": "1", "count": 200, "first_at": 1763899998.2}},
     "errors": ["…the last few, as text"]}

On SIGTERM what is under way is finished, and the last line has "final": true.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

from .shop import Peer

RATE = float(os.environ.get("RATE", "100"))  # requests a second
WORKERS = int(os.environ.get("WORKERS", "4"))
EVERY = float(os.environ.get("REPORT_SECONDS", "0.5"))


class Tally:
    """What was seen so far; used by all workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent = self._succeeded = self._failed = 0
        self._answers: dict[str, dict[str, Any]] = {}
        self._errors: deque[str] = deque(maxlen=5)

    def sent(self) -> None:
        """Count a request that goes out now."""
        with self._lock:
            self._sent += 1

    def answered(self, order: dict[str, Any]) -> None:
        """Count the answer of a task of orders."""
        with self._lock:
            self._succeeded += 1
            seen = self._answers.setdefault(
                order["task"], {"version": order["version"], "count": 0, "first_at": time.time()}
            )
            seen["count"] += 1

    def failed(self, error: Exception) -> None:
        """Count a request without a good answer."""
        with self._lock:
            self._failed += 1
            self._errors.append(f"{time.time():.3f} {type(error).__name__}: {error}")

    def line(self, *, final: bool) -> str:
        """Return the tally as a line of JSON."""
        with self._lock:
            return json.dumps(
                {
                    "time": time.time(),
                    "sent": self._sent,
                    "succeeded": self._succeeded,
                    "failed": self._failed,
                    "final": final,
                    "answers": self._answers,
                    "errors": list(self._errors),
                }
            )


def work(tally: Tally, stop: threading.Event, begin: float, worker: int) -> None:
    """Send requests at this worker's share of the rate until stopped."""
    web = Peer("web", 80)
    pause = WORKERS / RATE
    due = begin + worker / RATE
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + pause, time.monotonic())  # a closed loop: what was late is not caught up
        tally.sent()
        try:
            tally.answered(web.get(f"/things/{worker}")["order"])
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            tally.failed(error)


def main() -> None:
    """Run the load until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tally = Tally()
    begin = time.monotonic()
    workers = [threading.Thread(target=work, args=(tally, stop, begin, number)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    while not stop.wait(EVERY):
        sys.stdout.write(tally.line(final=False) + "\n")
        sys.stdout.flush()
    for worker in workers:
        worker.join()
    sys.stdout.write(tally.line(final=True) + "\n")


if __name__ == "__main__":
    main()
