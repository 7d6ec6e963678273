"""What ECS tells a task about itself: the task metadata endpoint, version 4.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import msgspec
import urllib3

SECONDS: Final = 1.0

log = logging.getLogger("tramo.metadata")


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """Who this task is; empty where it is not known."""

    service_name: str = ""
    cluster_name: str = ""
    zone: str = ""


class _Task(msgspec.Struct):
    Cluster: str = ""
    ServiceName: str = ""
    AvailabilityZone: str = ""


def read(uri: str) -> TaskIdentity:
    """Ask the endpoint; an identity without names when it does not answer, which costs only dimensions."""
    if not uri:
        return TaskIdentity()
    try:
        response = urllib3.request("GET", f"{uri}/task", timeout=SECONDS, retries=False)
        task = msgspec.json.decode(response.data, type=_Task)
    except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
        log.warning("the task metadata endpoint gave no answer, metrics lack ServiceName: %s", error)
        return TaskIdentity()
    return TaskIdentity(task.ServiceName, task.Cluster.rpartition("/")[2], task.AvailabilityZone)
