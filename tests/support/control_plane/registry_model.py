"""What the conditions of the task store's writes mean, as a value in and a value out: the store is held against it."""

from __future__ import annotations

from dataclasses import replace

from registry.domain.rules import FACTS_OF_THE_LIVING, TaskRecord, accepts


def apply_record(known: TaskRecord | None, new: TaskRecord) -> TaskRecord:
    """Return what is known after the facts of an event."""
    if known is None:
        return new
    if not accepts(known, new.version, new.gone):
        return known
    if new.gone:
        return new
    return replace(new, **{name: getattr(known, name) for name in FACTS_OF_THE_LIVING})
