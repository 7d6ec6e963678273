"""Logs are one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

from sidecar.logs import JsonFormatter


def line(message: str, *args: object, extra: dict[str, Any] | None = None, error: bool = False) -> dict[str, Any]:
    logger = logging.Logger("tramo.test")
    info: Any = None
    if error:
        try:
            raise ZeroDivisionError("by zero")
        except ZeroDivisionError:
            info = sys.exc_info()
    record = logger.makeRecord("tramo.test", logging.WARNING, "f.py", 1, message, args, info, extra=extra)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_fields_of_a_line() -> None:
    found = line("cannot listen on %s:%d", "127.0.0.1", 80)
    assert found["message"] == "cannot listen on 127.0.0.1:80"
    assert (found["level"], found["logger"]) == ("WARNING", "tramo.test")
    assert datetime.fromisoformat(found["time"]).utcoffset() is not None
    assert set(found) == {"time", "level", "logger", "message"}


def test_extra_fields_stand_beside_the_message() -> None:
    found = line("draining", extra={"work": 3, "at": ("a", 1), "thing": ValueError("odd")})
    assert (found["work"], found["at"], found["thing"]) == (3, ["a", 1], "odd")


def test_errors_come_with_their_traceback() -> None:
    found = line("failed", error=True)
    assert "ZeroDivisionError: by zero" in found["exception"]


def test_line_breaks_and_quotes_stay_inside() -> None:
    assert line('a\nb"c')["message"] == 'a\nb"c'
