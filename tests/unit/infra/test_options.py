"""The options of the commands: the same everywhere, as docs/operators.md lists them; and `--watch`."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from infra.cli.main import main, make_parser
from infra.cli.watch import HOME, WATCH_SECONDS, repeat
from infra.packaging.docs import DOCS
from tests.support.control_plane.terminal import COLUMNS

YES = "yes"


def parsers() -> dict[str, argparse.ArgumentParser]:
    for action in make_parser()._actions:
        if isinstance(action.choices, Mapping):
            return dict(action.choices)
    raise AssertionError("the parser has no commands")


COMMANDS = parsers()


def row(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """What a command has of the common options, as the table in the documentation says it."""
    known = {text: action for action in parser._actions for text in action.option_strings}
    forms = ", ".join(str(each) for each in known["-o"].choices or ()) if "-o" in known else ""
    return (forms, *(YES if option in known else "" for option in ("-n", "--stack", "--watch", "--time-window")))


def documented() -> dict[str, tuple[str, ...]]:
    page = (DOCS / "operators.md").read_text()
    table = page[page.index("| commands |") :].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([a-z-]+)`", first):
            found[name] = tuple(cells)
    return found


def test_the_documentation_lists_which_command_has_which_common_option() -> None:
    assert documented() == {name: row(parser) for name, parser in COMMANDS.items()}


def test_every_option_is_explained() -> None:
    silent = [
        f"{name} {action.dest}"
        for name, parser in COMMANDS.items()
        for action in parser._actions
        if action.option_strings and not action.help
    ]
    assert silent == []


def test_every_commands_help_ends_with_examples_that_can_be_typed() -> None:
    parser = make_parser()
    for name, command in COMMANDS.items():
        examples = re.findall(r"^  \$ tramo (.*)$", command.format_help().partition("\nexamples:\n")[2], re.MULTILINE)
        assert examples, name
        for example in examples:
            assert len(f"  $ tramo {example}") <= COLUMNS
            options = parser.parse_args(shlex.split(example.partition(" > ")[0]))
            assert (example.split()[0], callable(options.run)) == (name, True)


class Watched:
    """A command that prints which time it runs, and a pause that ends it at the third."""

    def __init__(self) -> None:
        self.runs = 0
        self.pauses: list[float] = []

    def run(self, _: argparse.Namespace) -> int:
        self.runs += 1
        print(f"run {self.runs}", flush=True)
        return self.runs

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.runs == 3:
            raise KeyboardInterrupt


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "before"), [(io.StringIO(), "\n"), (Terminal(), HOME)])
def test_what_is_watched_is_shown_in_the_place_of_the_last_one_on_a_terminal(stream: io.StringIO, before: str) -> None:
    watched = Watched()
    with redirect_stdout(stream), pytest.raises(KeyboardInterrupt):
        repeat(watched.run, argparse.Namespace(watch=True), watched.pause)
    assert stream.getvalue() == f"run 1\n{before}run 2\n{before}run 3\n"
    assert watched.pauses == [WATCH_SECONDS] * 3


def test_what_changes_something_is_not_repeated() -> None:
    for action in (["allow", "orders", "other"], ["forget", "orders"]):
        assert not make_parser().parse_args(["services", "--watch", *action]).watch


def test_a_command_that_is_not_watched_runs_once() -> None:
    watched = Watched()
    with redirect_stdout(io.StringIO()):
        assert repeat(watched.run, argparse.Namespace(), watched.pause) == 1
    assert watched.pauses == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stat --form web", "tramo stat: '--form' is not known; did you mean --from?"),
        ("services allow a b --stak x", "tramo services allow: '--stak' is not known"),
        ("tap orders --most 0", "there must be at least one"),
        ("logs orders --lines -3", "'-3' is not a number from 0 up"),
    ],
)
def test_a_wrong_option_is_refused_by_its_command(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == os.EX_USAGE
    assert said in capsys.readouterr().err


def test_a_policy_that_cannot_be_read_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "validate", str(tmp_path / "none.json")]) == os.EX_DATAERR
    assert capsys.readouterr().err.endswith("none.json: No such file or directory\n")
