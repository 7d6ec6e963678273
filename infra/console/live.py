"""What happens at a service now, asked of the sidecars when somebody wants to see it: requests, and who ejects whom.

Rules:
- Nothing is asked until a person presses a button, and one page asks at a time: a question is work for every sidecar.
- Requests are heads, as in `tramo tap`. A tap ends after `TAP_SECONDS`, or when the page is left.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, zip_longest
from typing import Any, Final, cast

from infra.client.api import ApiError, MeshApi
from infra.client.questions import ask
from infra.client.requests import batches
from infra.console.metrics import ReadError

TAP_SECONDS: Final = 20
MOST_REQUESTS: Final = 200
MOST_NAMESPACES: Final = 4
"""With a service of the name; each is a question of its own, and answers are looked at in turn, a second each."""
MOST_NAMED: Final = 20
"""Tasks whose names are looked up; each is a call of the API."""

Json = dict[str, Any]


class BusyError(ReadError):
    """Somebody asks already."""


class Live:
    """Asks sidecars about one service at a time."""

    def __init__(self, api: Any, absent: str = "", seconds: int = TAP_SECONDS) -> None:
        """Take a client of the mesh's API, or None, and then `absent` says why there is none."""
        self._api = cast(MeshApi, api)
        self._absent = absent
        self._seconds = seconds
        self._turn = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the one turn that there is. Raises BusyError, and ReadError without an API."""
        if self._api is None:
            raise ReadError(self._absent)
        if not self._turn.acquire(blocking=False):
            raise BusyError("sidecars are asked already, from this page or another; try again in some seconds")
        try:
            yield
        except ApiError as error:
            raise ReadError(str(error)) from error
        finally:
            self._turn.release()

    def tap(self, namespaces: Sequence[str], name: str) -> Iterator[Json]:
        """Yield heads of requests that tasks of the service serve or send, as they end. Raises ApiError."""
        asked = namespaces[:MOST_NAMESPACES]
        looks = [batches(self._api, each, name, {}, self._seconds, progress=io.StringIO()) for each in asked]
        found = (
            {"namespace": namespace, **each}
            for turn in zip_longest(*looks)
            for namespace, batch in zip(asked, turn, strict=True)
            if batch is not None
            for each in batch.requests
        )
        yield from islice(found, MOST_REQUESTS)

    def ejections(self, namespaces: Sequence[str], name: str) -> Json:
        """Return how many sidecars were asked, and which endpoints they do not call, each with who says so."""
        asked, rows = 0, []
        for namespace in namespaces:
            answered = ask(self._api, namespace, "clusters", filters={"to": name}, progress=io.StringIO())
            asked += len(answered.answers)
            for task, answer in sorted(answered.answers.items()):
                for cluster in answer["clusters"]:
                    rows += [
                        {"endpoint": each["id"], "why": why, "task": task, "namespace": namespace}
                        for each in cluster["endpoints"]
                        if (why := _why(each))
                    ]
        names: dict[str, str] = {}
        for row in rows:
            if row["task"] not in names and len(names) < MOST_NAMED:
                names[row["task"]] = self._name(row["namespace"], row["task"])
        return {"asked": asked, "ejections": [{**row, "by": names.get(row["task"], "")} for row in rows]}

    def _name(self, namespace: str, task: str) -> str:
        try:
            found = self._api.task(namespace, task)
        except ApiError as error:
            if error.status != 404:
                raise
            return ""  # it has ended meanwhile
        return str(next(iter(found["services"]), "") or found["task_definition"])


def _why(endpoint: Json) -> str:
    """Return why a caller does not call an endpoint, empty if it does."""
    if endpoint["ejected"]:
        return "ejected after failures"
    if (endpoint["health_check"] or {}).get("state") == "failing":
        return "fails its health checks"
    return ""
