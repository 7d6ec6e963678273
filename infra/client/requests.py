"""Requests of a service as they end, by their heads: what sidecars send while somebody looks.

Sidecars are asked, and send what they see once a second for at most a minute; a longer look asks again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from infra.client.api import Json, MeshApi
from infra.client.questions import Progress, everything, put, question

PAUSE_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60
AFTER_SECONDS: Final = 3.0
"""For the last batch to arrive."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that ended since the last look, and how many others ended that a sidecar did not send."""

    requests: list[Json]
    left_out: int


def batches(
    api: MeshApi,
    namespace: str,
    service: str,
    chosen: dict[str, str],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    progress: IO[str] | None = None,
) -> Iterator[Batch]:
    """Yield once a second what tasks of a service served or sent meanwhile, which may be nothing."""
    bar = Progress(progress or sys.stderr)
    end = clock() + seconds
    while clock() < end:
        span = min(LONGEST_SECONDS, max(int(end - clock()), 1))
        asked = put(api, namespace, question("tap", service, (), chosen, span), clock, pause)
        bar.show(f"{len(asked['asked'])} sidecars of {service} are asked; the first requests take some seconds")
        seen: set[tuple[str, str]] = set()
        until = min(clock() + span + AFTER_SECONDS, end + AFTER_SECONDS)
        while clock() < until:
            pause(PAUSE_SECONDS)
            found: list[Json] = []
            left_out = 0
            for answer in everything(api, namespace, asked["id"]):
                key = (answer["task"], answer["at"])
                if key in seen:
                    continue
                seen.add(key)
                found += [{"task": answer["task"], **each} for each in answer["answer"].get("requests", ())]
                left_out += answer["answer"].get("left_out", 0)
            if found:
                bar.clear()
            yield Batch(found, left_out)
    bar.clear()
