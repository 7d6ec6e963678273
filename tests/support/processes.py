"""What runs below a process, and whether it is gone."""

from __future__ import annotations

from pathlib import Path


def descendants(pid: int) -> set[tuple[int, str]]:
    """Return (process id, start time) of everything below a process; the pair names a process for ever."""
    parents: dict[int, int] = {}
    starts: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := _stat(int(entry.name))):
            parents[int(entry.name)], starts[int(entry.name)] = found
    below: set[int] = set()
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - below
        below |= frontier
    return {(child, starts[child]) for child in below}


def left(processes: set[tuple[int, str]]) -> set[int]:
    """Return the ids of those that still run."""
    return {pid for pid, start in processes if (found := _stat(pid)) and found[1] == start}


def _stat(pid: int) -> tuple[int, str] | None:
    """Return parent and start time of a process, None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else (int(fields[1]), fields[19])
