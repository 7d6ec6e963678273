"""The ends of containers' logs in CloudWatch Logs, found by the task definitions. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from infra.client.stack import CONFIG, open_session
from infra.local.settings import LocalError

DRIVER: Final = "awslogs"
MISSING: Final = "ResourceNotFoundException"
MOST_LINES: Final = 10_000
"""What CloudWatch Logs gives at once."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Where a container of a task writes. `problem` says why it cannot be read, empty if it can."""

    task: str
    container: str
    group: str = ""
    name: str = ""
    region: str | None = None
    problem: str = ""


def streams(task: str, definition: Mapping[str, Any]) -> list[Stream]:
    """Return where the containers of a task write, by DescribeTaskDefinition's `taskDefinition`."""
    found = []
    for container in definition["containerDefinitions"]:
        name = container["name"]
        configuration = container.get("logConfiguration") or {}
        options = configuration.get("options") or {}
        driver = configuration.get("logDriver")
        if driver != DRIVER:
            problem = f"it logs to {driver}" if driver else "it has no logConfiguration"
            found.append(Stream(task, name, problem=f"{problem}, and only {DRIVER} can be read here"))
        elif "awslogs-stream-prefix" not in options:
            # Docker names the stream by the container's own id then, which ECS does not tell.
            found.append(Stream(task, name, problem="its logConfiguration has no awslogs-stream-prefix"))
        else:
            stream = f"{options['awslogs-stream-prefix']}/{name}/{task}"
            found.append(Stream(task, name, options["awslogs-group"], stream, options.get("awslogs-region")))
    return found


def read(
    tasks: Mapping[str, str], region: str | None, container: str | None, lines: int
) -> Iterator[tuple[Stream, list[str]]]:
    """Yield the last lines of each container; `tasks` are task definitions (family:revision) by task id.

    Raises LocalError.
    """
    try:
        session = open_session(region)
        ecs = session.client("ecs", config=CONFIG)
        names = sorted(set(tasks.values()))
        known = {name: ecs.describe_task_definition(taskDefinition=name)["taskDefinition"] for name in names}
        for task, name in sorted(tasks.items()):
            for stream in streams(task, known[name]):
                if container in (None, stream.container):
                    client = session.client("logs", region_name=stream.region or region, config=CONFIG)
                    yield stream, [] if stream.problem else _tail(client, stream, lines)
    except (BotoCoreError, ClientError) as error:
        raise LocalError(str(error)) from error


def _tail(client: Any, stream: Stream, lines: int) -> list[str]:
    try:
        answer = client.get_log_events(
            logGroupName=stream.group,
            logStreamName=stream.name,
            limit=min(lines, MOST_LINES),
            startFromHead=False,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != MISSING:
            raise
        return []  # a container that has not written yet has no stream
    return [str(event["message"]).rstrip("\n") for event in answer["events"]]
