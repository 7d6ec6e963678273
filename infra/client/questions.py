"""Asking sidecars through the registry, and waiting for their answers.

A question reaches a sidecar with what it reads anyway, within an interval of some seconds. So asking takes that long;
it ends as soon as all have answered who shall.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, Final

from infra.client.api import ApiError, MeshApi

PAUSE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 20
"""Two intervals of reading at the default, and time to answer."""

TURN_SECONDS: Final = 60
"""A question stands no longer."""
BUSY: Final = 429
UNKNOWN: Final = 404
AT_ONCE: Final = 4
"""Namespaces that are asked, or whose answers are read, in one moment."""
BUSY_PAUSE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What the tasks said, by their ids, and those that did not answer in time."""

    answers: dict[str, dict[str, Any]]
    silent: tuple[str, ...]


def ask(
    api: MeshApi,
    namespace: str,
    subject: str,
    *,
    service: str = "",
    tasks: tuple[str, ...] = (),
    filters: dict[str, str] | None = None,
    seconds: int = PATIENCE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    progress: IO[str] | None = None,
) -> Answered:
    """Ask, and return the last answer of each task. Raises ApiError."""
    asked = put(api, namespace, question(subject, service, tasks, filters, seconds), clock, pause)
    waiting = set(asked["asked"])
    found: dict[str, dict[str, Any]] = {}
    deadline = clock() + seconds
    bar = Progress(progress or sys.stderr)
    while waiting - found.keys() and clock() < deadline:
        pause(PAUSE_SECONDS)
        found.update((each["task"], each["answer"]) for each in everything(api, namespace, asked["id"]))
        bar.show(f"{len(found)} of {len(waiting)} sidecars in {namespace} have answered")
    bar.clear()
    return Answered(found, tuple(sorted(waiting - found.keys())))


def ask_namespaces(
    api: MeshApi,
    namespaces: Sequence[str],
    subject: str,
    *,
    filters: dict[str, str] | None = None,
    seconds: int = PATIENCE_SECONDS,
    turn: float = TURN_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    progress: IO[str] | None = None,
) -> dict[str, Answered | ApiError | None]:
    """Ask several namespaces at once, so that all of them take `seconds` at most, however many are silent.

    Where as many questions of others are open as may be, the question waits for its turn before that, `turn` seconds
    at most. Of a namespace without a snapshot None is returned, of one that could not be asked in the time the reason.
    Raises ApiError.
    """
    document = question(subject, "", (), filters, seconds)
    bar = Progress(progress or sys.stderr)

    def begin(namespace: str) -> Any:
        try:
            return put(api, namespace, document, clock, pause, turn)
        except ApiError as error:
            if error.status not in (BUSY, UNKNOWN):
                raise
            return error if error.status == BUSY else None

    def answers(namespace: str) -> list[dict[str, Any]]:
        return list(everything(api, namespace, ids[namespace]))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = dict(zip(namespaces, pool.map(begin, namespaces), strict=True))
        deadline = clock() + seconds
        ids = {name: each["id"] for name, each in begun.items() if isinstance(each, dict)}
        waiting = {name: set(begun[name]["asked"]) for name in ids}
        found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in ids}
        while (open_ := [name for name in ids if waiting[name] - found[name].keys()]) and clock() < deadline:
            pause(PAUSE_SECONDS)
            for name, page in zip(open_, pool.map(answers, open_), strict=True):
                found[name].update((each["task"], each["answer"]) for each in page)
            count, all_ = (sum(map(len, each.values())) for each in (found, waiting))
            bar.show(f"{count} of {all_} sidecars in {_places(ids)} have answered")
    bar.clear()
    return {
        name: Answered(found[name], tuple(sorted(waiting[name] - found[name].keys()))) if name in ids else each
        for name, each in begun.items()
    }


def _places(namespaces: Collection[str]) -> str:
    return next(iter(namespaces)) if len(namespaces) == 1 else f"{len(namespaces)} namespaces"


def put(
    api: MeshApi,
    namespace: str,
    document: dict[str, Any],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    patience: float = TURN_SECONDS,
) -> dict[str, Any]:
    """Put a question; wait for its turn while as many are open as may be. Raises ApiError."""
    deadline = clock() + patience
    while True:
        try:
            return api.ask(namespace, document)
        except ApiError as error:
            if error.status != BUSY or clock() >= deadline:
                raise
        pause(BUSY_PAUSE_SECONDS)


def question(
    subject: str, service: str, tasks: tuple[str, ...], filters: dict[str, str] | None, seconds: int
) -> dict[str, Any]:
    """Return a question as the API takes it."""
    document: dict[str, Any] = {"subject": subject, "seconds": seconds}
    if service:
        document["service"] = service
    if tasks:
        document["tasks"] = list(tasks)
    if filters:
        document["filters"] = filters
    return document


def everything(api: MeshApi, namespace: str, question: str, after: str = "") -> Iterator[dict[str, Any]]:
    """Yield all answers to a question, page after page."""
    while True:
        page = api.answers(namespace, question, after)
        yield from page["answers"]
        after = page["next"] or ""
        if not after:
            return


class Progress:
    """One line that says how far it is, on a terminal only."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_shown = False

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._stream.isatty():
            self._stream.write(f"\r\x1b[K{text[:79]}")
            self._stream.flush()
            self._is_shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._is_shown = False
