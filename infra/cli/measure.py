"""The edges of a mesh, asked of its sidecars: what `stat` and `edges` and others show."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Final

from infra.cli.mesh import Mesh
from infra.cli.traffic import Edge, edges_of
from infra.client.api import ApiError, MeshApi
from infra.client.questions import Answered, ask_namespaces

WINDOW_SECONDS: Final = 60


def edges(mesh: Mesh, progress: IO[str] | None = None, window: float = WINDOW_SECONDS) -> list[Edge]:
    """Return all edges of the namespaces that were asked for; `progress` is where it says how far it is, else stderr.

    The counts are of about the last `window` seconds; sidecars keep 60 and read them every 15.

    Raises ApiError.
    """
    found = []
    for namespace, answered in ask_all(mesh.api, mesh.namespaces(), progress, window).items():
        names = family_names(mesh.api, namespace, answered)
        found += edges_of(namespace, answered.answers, names)
        warn_of_silence(namespace, answered.silent)
    return found


def require_known(mesh: Mesh, edges: Iterable[Edge], *names: str | None) -> None:
    """Raise LocalError for a name that neither calls, nor is called, nor is a service; None is passed over."""
    seen = {name for each in edges for name in (each.source, each.destination)}
    mesh.require_services(name for name in names if name not in seen)


def ask_all(
    api: MeshApi,
    namespaces: Sequence[str],
    progress: IO[str] | None = None,
    window: float = WINDOW_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Answered]:
    """Ask every sidecar of the namespaces for its traffic; one that has no snapshot yet is left out.

    So is one that could not be asked in the time, with a warning. Raises ApiError if that is so of all of them.
    """
    filters = window_filter(window)
    found = ask_namespaces(api, namespaces, "stat", filters=filters, progress=progress, clock=clock, pause=pause)
    answered = {name: each for name, each in found.items() if isinstance(each, Answered)}
    for name, each in found.items():
        if isinstance(each, ApiError):
            if not answered:
                raise each
            sys.stderr.write(f"tramo: {name}: its sidecars could not be asked: {each}\n")
    return answered


def window_filter(window: float) -> dict[str, str] | None:
    """Return the filter that asks for the counts of so many seconds."""
    # An API of an earlier release does not know the filter, so it is left out where it says nothing.
    return None if window == WINDOW_SECONDS else {"window": f"{window:.0f}"}


def family_names(api: MeshApi, namespace: str, answered: Answered) -> dict[str, str]:
    """Return the families of tasks that neither offer a service nor belong to an ECS service."""
    found = {}
    for task, answer in answered.answers.items():
        if answer.get("client") and not answer.get("offers") and not answer.get("service"):
            try:
                found[task] = str(api.task(namespace, task)["task_definition"]).partition(":")[0]
            except ApiError as error:
                if error.status != 404:  # it has ended meanwhile
                    raise
    return found


def warn_of_silence(namespace: str, tasks: Iterable[str]) -> None:
    """Say whose sidecars have not answered: what they know is missing."""
    silent = [each[:8] for each in tasks]
    if silent:
        more = f" and {len(silent) - 5} more" if len(silent) > 5 else ""
        sys.stderr.write(f"tramo: {namespace}: no answer of {', '.join(silent[:5])}{more}\n")
