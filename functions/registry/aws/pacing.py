"""A rate limit of our own for ECS's API, whose quotas are shared with all other tools of the account.

ECS lets an account read clusters and tasks 20 times a second, in bursts of 100
(https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html). A sweep that took all of
that would have the account's deployments and consoles throttled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from registry.aws.ecs import EcsClient


class TokenBucket:
    """At most `rate` takings a second, and `rate` at once after a second of rest.

    `clock` returns seconds that never go back, `sleep` takes seconds.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._clock = clock
        self._sleep = sleep
        self._tokens = self._most
        self._at = clock()

    def take(self) -> None:
        """Return when the next call may be made."""
        self._fill()
        if self._tokens < 1:
            self._sleep((1 - self._tokens) / self._rate)
            self._fill()
        # A sleep that ended a little early leaves a debt, which the next call pays.
        self._tokens -= 1

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now


class PacedEcs:
    """An ECS client whose calls wait for their turn."""

    def __init__(self, ecs: EcsClient, bucket: TokenBucket) -> None:
        self._ecs = ecs
        self._bucket = bucket

    def describe_task_definition(self, **arguments: Any) -> Any:
        """See EcsClient."""
        self._bucket.take()
        return self._ecs.describe_task_definition(**arguments)

    def describe_container_instances(self, **arguments: Any) -> Any:
        """See EcsClient."""
        self._bucket.take()
        return self._ecs.describe_container_instances(**arguments)

    def list_clusters(self, **arguments: Any) -> Any:
        """See EcsClient."""
        self._bucket.take()
        return self._ecs.list_clusters(**arguments)

    def list_tasks(self, **arguments: Any) -> Any:
        """See EcsClient."""
        self._bucket.take()
        return self._ecs.list_tasks(**arguments)

    def describe_tasks(self, **arguments: Any) -> Any:
        """See EcsClient."""
        self._bucket.take()
        return self._ecs.describe_tasks(**arguments)
