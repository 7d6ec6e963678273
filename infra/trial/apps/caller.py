"""caller: calls orders by name at a steady rate and writes what it saw, one cumulative JSON line every few seconds.

{"sent": 200, "failed": 0, "answers": {"<task of orders>": {"version": "1", "count": 200}}, "errors": ["the last few"]}
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import threading
import time

RATE = 20.0  # requests a second
REPORT_SECONDS = 5.0
MOST_ERRORS = 5
URL = ("orders", 80)


def call(address: tuple[str, int] = URL) -> dict[str, str]:
    """Return the answer of a task of orders. Raises OSError, HTTPException and ValueError."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status}: {body[:200]!r}")
        found: dict[str, str] = json.loads(body)
        return found
    finally:
        connection.close()


def main() -> None:
    """Call until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    sent = failed = 0
    answers: dict[str, dict[str, object]] = {}
    errors: list[str] = []
    reported = time.monotonic()
    while not stop.wait(1.0 / RATE):
        sent += 1
        try:
            found = call()
            seen = answers.setdefault(found["task"], {"version": found["version"], "count": 0})
            seen["count"] = int(str(seen["count"])) + 1
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            failed += 1
            errors = [*errors, f"{time.time():.3f} {type(error).__name__}: {error}"][-MOST_ERRORS:]
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            line = {"sent": sent, "failed": failed, "answers": answers, "errors": errors}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
