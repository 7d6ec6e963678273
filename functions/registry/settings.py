"""What the functions read from their environment, once, when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.domain.offer import DEFAULT_MESH
from registry.domain.zone import Mode


class SettingsError(Exception):
    """A variable is missing or wrong; the function must not start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of the functions. Endpoints and credentials are botocore's to find.

    `clusters` are names or ARNs (empty: all of the region). `poll_seconds` is what sidecars are told.
    `ecs_calls_per_second` is the most that the reconciler asks of ECS. `checks_tasks` is whether a role's session
    may report the health of the task only after which it is named. `stream` is the ARN of the table's stream, empty
    for functions that do not publish. `hosted_zone` is the id of the zone that gets the services' names, empty for
    none, and `hosted_zone_mode` how the tasks that ask it share their ports. `feed_table` and `feed_bucket` are where
    the feed is, empty where there is none; `feed_seconds` is how often sidecars read it. `mesh` is the one whose tasks
    are registered, and which the API says it is of.
    """

    table: str
    region: str
    clusters: tuple[str, ...]
    poll_seconds: int
    ecs_calls_per_second: int
    checks_tasks: bool
    stream: str
    hosted_zone: str
    hosted_zone_mode: Mode
    feed_table: str
    feed_bucket: str
    feed_seconds: int
    mesh: str

    def has_cluster(self, name_or_arn: str) -> bool:
        """Return whether tasks of a cluster may join."""
        names = {each.rpartition("/")[2] for each in self.clusters}
        return not names or name_or_arn.rpartition("/")[2] in names

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings. Raises SettingsError that names the variable."""
        identity = environment.get("TRAMO_TASK_IDENTITY", "session")
        if identity not in ("session", "off"):
            raise SettingsError(f"TRAMO_TASK_IDENTITY is {identity!r}; set session or off")
        mode = environment.get("TRAMO_HOSTED_ZONE_MODE", Mode.LISTEN)
        if mode not in list(Mode):
            raise SettingsError(f"TRAMO_HOSTED_ZONE_MODE is {mode!r}; set {' or '.join(Mode)}")
        return cls(
            table=_required(environment, "TRAMO_TABLE", "the name of the registry's DynamoDB table"),
            region=_required(environment, "AWS_REGION", "the region (Lambda sets it by itself)"),
            clusters=tuple(name.strip() for name in environment.get("TRAMO_CLUSTERS", "").split(",") if name.strip()),
            poll_seconds=_number(environment, "TRAMO_POLL_SECONDS", 5, 300),
            ecs_calls_per_second=_number(environment, "TRAMO_ECS_CALLS_PER_SECOND", 10, 100),
            checks_tasks=identity == "session",
            stream=environment.get("TRAMO_STREAM", ""),
            hosted_zone=environment.get("TRAMO_HOSTED_ZONE", ""),
            hosted_zone_mode=Mode(mode),
            feed_table=environment.get("TRAMO_FEED_TABLE", ""),
            feed_bucket=environment.get("TRAMO_FEED_BUCKET", ""),
            feed_seconds=_number(environment, "TRAMO_FEED_SECONDS", 1, 60),
            mesh=environment.get("TRAMO_MESH", DEFAULT_MESH),
        )


def _number(environment: Mapping[str, str], name: str, otherwise: int, highest: int) -> int:
    value = environment.get(name, str(otherwise))
    if not value.isdecimal() or not 1 <= int(value) <= highest:
        raise SettingsError(f"{name} is {value!r}; set a whole number from 1 to {highest}")
    return int(value)


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; set it to {meaning}")
    return value
