"""The dashboard as tables in a terminal: for each line of each graph its last value, its extremes, and its course."""

from __future__ import annotations

from datetime import datetime
from typing import IO, Final

from rich.table import Table
from rich.text import Text

from infra.console import console
from infra.dashboards.reader import Page, Part, Values

BARS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 40
"""Characters of a course; longer windows are summed up by their highest values, so that peaks stay."""


def show(stream: IO[str], page: Page) -> None:
    """Print the page."""
    output = console(stream)
    begin, end = (datetime.fromtimestamp(time).strftime("%H:%M") for time in (page.times[0], page.read_at))
    output.print(f"{page.source}, {begin} to {end}", style="bold", soft_wrap=True)
    for part in page.parts:
        output.print(f"\n{_title(page, part)}", style="bold", soft_wrap=True)
        shown = [plot for plot in part.plots if plot.series]
        if shown:
            output.print(_table(part))
        for why in dict.fromkeys(plot.empty for plot in part.plots if not plot.series):
            titles = ", ".join(plot.title for plot in part.plots if plot.empty == why and not plot.series)
            output.print(f"{why}: {titles}", style="dim", soft_wrap=True)


def _title(page: Page, part: Part) -> str:
    return f"{part.title}: {page.service}" if part.title == "One service" and page.service else part.title


def _table(part: Part) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("GRAPH", "left"), ("LINE", "left"), ("LAST", "right"), ("LOWEST", "right")):
        made.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type] # rich names its words
    made.add_column("HIGHEST", justify="right")
    made.add_column("COURSE", no_wrap=True)
    for plot in part.plots:
        for place, series in enumerate(plot.series):
            known = [value for value in series.values if value is not None]
            numbers = (known[-1], min(known), max(known))
            made.add_row(
                "" if place else plot.title,
                series.label,
                *(number(value, plot.unit) for value in numbers),
                Text(sparkline(series.values), style="cyan"),
            )
        if plot.left_out:
            made.add_row("", f"and {plot.left_out} lower ones")
    return made


def sparkline(values: Values, width: int = WIDTH) -> str:
    """Return the course of some values from zero up to the highest; a blank where there is none."""
    size = max(-(-len(values) // width), 1)
    groups = [[value for value in values[at : at + size] if value is not None] for at in range(0, len(values), size)]
    highest = max((max(group) for group in groups if group), default=0.0)
    top = len(BARS) - 1
    if highest <= 0:
        return "".join(BARS[0] if group else " " for group in groups)
    return "".join(BARS[max(round(max(group) / highest * top), 0)] if group else " " for group in groups)


def number(value: float, unit: str) -> str:
    """Return a value with its unit, short."""
    if unit == "bytes":
        return _scaled(value, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB"))
    if unit == "ms" and value >= 1000.0:
        return f"{value / 1000.0:.3g} s"
    if unit:
        return f"{value:.3g} {unit}"
    return _scaled(value, 1000.0, ("", "k", "M", "G")).rstrip()


def _scaled(value: float, step: float, units: tuple[str, ...]) -> str:
    place = 0
    while abs(value) >= step and place < len(units) - 1:
        value /= step
        place += 1
    digits = f"{value:.0f}" if value == int(value) else f"{value:.3g}"
    return f"{digits} {units[place]}"
