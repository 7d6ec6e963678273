"""Which snapshot a reader has: its epoch and its revision. Pure.

Revisions count the changes of one head. A table that was restored from an earlier point in time, or made again,
counts again from there, so the same number would name two contents. So each head has an epoch, a random text:
revisions are compared within an epoch only, and a reader takes a snapshot of another epoch whole, whatever its number.

A version is written `EPOCH-REVISION`; without an epoch, as functions of an earlier release wrote it, it is the
number alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

VERSION_PATTERN: Final = re.compile(r"(?:([0-9a-f]{1,32})-)?([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Version:
    """A snapshot of a namespace. `epoch` is empty for a head that has none."""

    epoch: str
    revision: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.revision}" if self.epoch else str(self.revision)

    def reaches(self, other: Version) -> bool:
        """Return whether this is the other one or a later one of its epoch."""
        return self.epoch == other.epoch and self.revision >= other.revision


def parse_version(text: str) -> Version | None:
    """Return the version in a text, None when there is none."""
    found = VERSION_PATTERN.fullmatch(text)
    return None if found is None else Version(found[1] or "", int(found[2]))
