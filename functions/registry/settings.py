"""What the functions read from their environment, once, when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """A variable is missing or wrong; the function must not start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of the functions. Endpoints and credentials are botocore's to find.

    `clusters` are names or ARNs (empty: all of the region). `poll_seconds` is what sidecars are told.
    """

    table: str
    region: str
    clusters: tuple[str, ...]
    poll_seconds: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings. Raises SettingsError that names the variable."""
        poll = environment.get("TRAMO_POLL_SECONDS", "5")
        if not poll.isdecimal() or not 1 <= int(poll) <= 300:
            raise SettingsError(f"TRAMO_POLL_SECONDS is {poll!r}; set a whole number from 1 to 300")
        return cls(
            table=_required(environment, "TRAMO_TABLE", "the name of the registry's DynamoDB table"),
            region=_required(environment, "AWS_REGION", "the region (Lambda sets it by itself)"),
            clusters=tuple(name.strip() for name in environment.get("TRAMO_CLUSTERS", "").split(",") if name.strip()),
            poll_seconds=int(poll),
        )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; set it to {meaning}")
    return value
