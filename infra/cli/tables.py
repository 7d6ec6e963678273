"""What the commands print: rows as a table for people, the same rows as JSON for programs.

A column has a name in capitals, which people see, and a key, which programs see. Names stay: scripts and
golden files rely on them. No colour and no cutting to a width when the output is not a terminal.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

# rich is imported where a table is drawn: programs ask for JSON, and need not wait for it.

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    key: str
    right: bool = False


SERVICES: Final = (
    Column("NAMESPACE", "namespace"),
    Column("NAME", "name"),
    Column("PROTOCOL", "protocol"),
    Column("ALIASES", "aliases"),
    Column("VIP", "vip"),
    Column("READY", "ready", right=True),
    Column("ENDPOINTS", "endpoints", right=True),
    Column("REVISION", "revision", right=True),
)
SERVICES_WIDE: Final = (*SERVICES, Column("STATES", "states"))
OWNERS: Final = (
    Column("NAMESPACE", "namespace"),
    Column("NAME", "name"),
    Column("OWNERS", "owners"),
    Column("ALLOWED", "allowed"),
)
ENDPOINTS: Final = (
    Column("NAMESPACE", "namespace"),
    Column("ID", "id"),
    Column("ADDRESS", "address"),
    Column("PORT", "port", right=True),
    Column("ZONE", "zone"),
    Column("STATE", "state"),
    Column("DEFINITION", "task_definition"),
    Column("DEPLOYMENT", "deployment"),
    Column("SINCE", "since"),
)
ENDPOINTS_WIDE: Final = (
    *ENDPOINTS,
    Column("PROTOCOL", "protocol"),
    Column("WEIGHT", "weight", right=True),
    Column("CREATED", "created_at"),
)
TASKS: Final = (
    Column("TASK", "task"),
    Column("GROUP", "group"),
    Column("DEFINITION", "definition"),
    Column("ZONE", "zone"),
    Column("ADDRESS", "address"),
    Column("STATUS", "status"),
    Column("DESIRED", "desired"),
    Column("HEALTH", "health"),
    Column("STOPPED", "stopped_reason"),
)
SCALED: Final = (
    Column("SERVICE", "service"),
    Column("DEFINITION", "definition"),
    Column("DESIRED", "desired", right=True),
    Column("RUNNING", "running", right=True),
    Column("PENDING", "pending", right=True),
    Column("ROLLOUT", "rollout"),
)
STATUS: Final = (
    Column("CLUSTER", "cluster"),
    Column("SERVICES", "services"),
    Column("TASKS", "tasks"),
    Column("EVENTS", "events", right=True),
    Column("DEAD LETTERS", "dead_letter_count", right=True),
    Column("API", "api"),
    Column("ECS", "ecs"),
    Column("AWS", "aws"),
)
FAILING: Final = (
    Column("FAILING", "service"),
    Column("DEFINITION", "definition"),
    Column("FAILED TASKS", "failed_tasks", right=True),
    Column("ROLLOUT", "rollout"),
    Column("CONTAINER", "container"),
    Column("EXIT CODE", "exit_code", right=True),
    Column("REASON", "reason"),
    Column("LOG", "log"),
)
DEAD_LETTERS: Final = (
    Column("TIME", "time"),
    Column("FUNCTION", "function"),
    Column("ERROR", "error"),
)
REDRIVEN: Final = (
    Column("TIME", "time"),
    Column("FUNCTION", "function"),
    Column("EVENT", "event"),
    Column("OUTCOME", "outcome"),
    Column("ERROR", "error"),
)

_STYLES: Final = {
    "ready": "green",
    "RUNNING": "green",
    "HEALTHY": "green",
    "COMPLETED": "green",
    "unhealthy": "red",
    "UNHEALTHY": "red",
    "draining": "yellow",
    "starting": "yellow",
    "IN_PROGRESS": "yellow",
    "FAILED": "red",
}


def table(columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """Return the rows as a table."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.name, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(row.get(column.key)) for column in columns))
    return made


def _cell(value: object) -> Text:
    from rich.text import Text

    text = "-" if value is None or value == "" else str(value)
    if isinstance(value, list):
        text = ",".join(str(item) for item in value) or "-"
    return Text(text, style=_STYLES.get(text, ""))


def show(stream: IO[str], form: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print the rows in the form that was asked for: `table` or `json`."""
    if form == "json":
        stream.write(json.dumps([dict(row) for row in rows], indent=2) + "\n")
        return
    from infra.terminal import console

    output = console(stream)
    if stream.isatty():
        output.print(table(columns, rows))
        return
    with output.capture() as capture:
        output.print(table(columns, rows))
    stream.write("".join(line.rstrip() + "\n" for line in capture.get().splitlines()))


def show_rows(stream: IO[str], form: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print rows as `show` does, `wide` as a table, and say so when there are none."""
    if not rows and form != "json":
        stream.write("No resources found.\n")
        return
    show(stream, "json" if form == "json" else "table", columns, rows)


def paragraph(stream: IO[str], text: str, indent: str = "", hanging: str | None = None) -> None:
    """Print a sentence: within the width of a terminal, else in one line. `hanging` indents its further lines."""
    if not stream.isatty():
        stream.write(f"{indent}{text}\n")
        return
    lines = textwrap.wrap(
        text,
        shutil.get_terminal_size().columns,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    stream.write("".join(f"{line}\n" for line in lines))
