"""What the arguments of commands have in common: their parser, their values, and the options that many take."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from typing import Any, Final, NoReturn

WIDE: Final = ("table", "json", "wide")

_HTTP_URL: Final = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?")
_USER_ID: Final = re.compile(r"(0|[1-9][0-9]{0,9})(:(0|[1-9][0-9]{0,9}))?")

Commands = Any  # argparse's _SubParsersAction is private


class CommandParser(argparse.ArgumentParser):
    """A parser that says what a misspelled word was probably meant to be, and whose exit code is EX_USAGE."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and refuse what is left over here, where the command's options are known."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            close = difflib.get_close_matches(left[0].partition("=")[0], self._option_string_actions, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            self.error(f"{left[0]!r} is not known{hint}")
        return found, left

    def error(self, message: str) -> NoReturn:
        """Print usage, the mistake and a suggestion, and exit."""
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong is not None:
            known = [word.strip("' ") for word in wrong[2].split(",")]
            close = difflib.get_close_matches(wrong[1], known, 1)
            hint = f"; did you mean {close[0]}?" if close else f": use one of {wrong[2]}"
            message = f"{wrong[1]!r} is not known{hint}"
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\n")


def output(made: argparse.ArgumentParser, forms: tuple[str, ...]) -> None:
    """Add the option that says in which form the result is printed."""
    made.add_argument("-o", "--output", choices=forms, default="table", help="form of the output, default table")


def watch(made: argparse.ArgumentParser) -> None:
    """Add the option that shows the result again and again."""
    made.add_argument("-w", "--watch", action="store_true", help="show it again every 5 seconds until Ctrl-C")


def mesh_options(made: argparse.ArgumentParser) -> None:
    """Add the options that say which mesh a command is about."""
    named = made.add_mutually_exclusive_group()
    named.add_argument("-n", "--namespace", metavar="NAME", help="only this namespace")
    named.add_argument(
        "-A", "--all-namespaces", action="store_const", const=None, dest="namespace", help="all of them, the default"
    )
    made.add_argument("--stack", metavar="NAME", help="the stack in AWS; without it the local cluster")
    made.add_argument(
        "--api-url",
        default=os.environ.get("TRAMO_API_URL"),
        metavar="URL",
        help="the stack's output ApiUrl (TRAMO_API_URL), in the place of --stack",
    )
    made.add_argument("--region", metavar="REGION", help="region of the stack, default AWS's configuration")


def count(text: str) -> int:
    """Return a number from 0 up."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return int(text)


def port(text: str) -> int:
    """Return a port; 0 is any."""
    number = count(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return number


def positive(text: str) -> int:
    """Return a number from 1 up."""
    number = count(text)
    if not number:
        raise argparse.ArgumentTypeError("there must be at least one")
    return number


def seconds(text: str) -> float:
    """Return seconds above 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number


def minutes(text: str) -> int:
    """Return the minutes of a time such as 15m or 3h; a number alone is minutes."""
    match = re.fullmatch(r"(\d{1,4})([mh]?)", text)
    number = int(match[1]) * (60 if match[2] == "h" else 1) if match is not None else 0
    if not 1 <= number <= 720:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 15m or 3h, at most 12h")
    return number


def http_url(text: str) -> str:
    """Return the address of an HTTP server, as it was given."""
    return _as_given(text, _HTTP_URL, "an address such as http://127.0.0.1:4318")


def api_url(text: str) -> str:
    """Return the address of the API, as it was given."""
    return _as_given(text, _HTTP_URL, "an address; give the stack's output ApiUrl: https://…")


def user_id(text: str) -> str:
    """Return the number of a user, alone or with that of a group, as it was given."""
    # ECS takes names too. Whether the image knows one shows only when the task starts.
    return _as_given(text, _USER_ID, "a user ID such as 1000, or 1000:1000 with that of a group")


def _as_given(text: str, pattern: re.Pattern[str], what: str) -> str:
    """Return a text that has this form."""
    if not pattern.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return text


def window(text: str) -> float:
    """Return the seconds of a window that sidecars keep."""
    seconds = duration(text)
    if not 15 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"sidecars keep counts of 15s to 1m, not of {text}; tramo console shows more")
    return seconds


def duration(text: str) -> float:
    """Return seconds of a time such as 30s, 5m or 1h; a number alone is seconds."""
    match = re.fullmatch(r"(\d{1,5})([smh]?)", text)
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match is not None else 0
    if not 1 <= seconds <= 12 * 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30s, 5m or 1h, at most 12h")
    return float(seconds)
