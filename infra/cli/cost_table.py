"""`tramo cost`: the lines of a bill as rows, with their sum and what one sidecar of it costs."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from infra.cli.tables import Column, Row, paragraph, show
from infra.cost import PRICES_AS_OF, Line, Use, monthly

COLUMNS: Final = (
    Column("SERVICE", "service"),
    Column("WHAT", "what"),
    Column("A MONTH", "shown", right=True),
    Column("UNIT", "unit"),
    Column("DOLLARS", "dollars", right=True),
)
NOTE: Final = (
    f"US East (N. Virginia), prices of {PRICES_AS_OF}, no free tier; EventBridge takes nothing for ECS's events"
)
_STEPS: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def run(options: argparse.Namespace) -> None:
    """Print the bill of the fleet that the options describe."""
    use = Use(
        options.sidecars,
        options.poll,
        options.changes_per_hour,
        options.services,
        options.metrics,
        options.feed,
        options.read,
        options.called,
    )
    show(sys.stdout, options.output, COLUMNS, rows(use))
    if options.output == "table":
        sys.stdout.write("\n")
        paragraph(sys.stdout, NOTE)


def rows(use: Use) -> list[Row]:
    """Return a row for each line, then the sum, then the share of one sidecar."""
    lines = monthly(use)
    total = sum(line.dollars for line in lines)
    return [
        *(_row(line) for line in lines),
        {"service": "total", "what": "", "shown": "", "unit": "", "dollars": f"{total:.2f}"},
        {"service": "per sidecar", "what": "", "shown": "", "unit": "", "dollars": f"{total / use.sidecars:.4f}"},
    ]


def _row(line: Line) -> Row:
    return {
        "service": line.service,
        "what": line.what,
        "shown": short(line.quantity),
        "quantity": round(line.quantity, 3),
        "unit": line.unit,
        "dollars": f"{line.dollars:.2f}",
    }


def short(quantity: float) -> str:
    """Return a quantity in thousands, millions or thousands of millions."""
    for step, letter in _STEPS:
        if quantity >= step:
            return f"{quantity / step:,.1f} {letter}"
    return f"{quantity:.1f}"
