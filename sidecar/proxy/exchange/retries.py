"""Whether another attempt of a request follows one that failed.

Rules:
- `core.retry` says which failures may be tried again, the policy how often and which of them. What the decision rests
  on is the exchange's: functions, since an object for each request would cost more than all its decisions.
- A failure has two names: how far the request came (`REFUSED`, `UNPROCESSED`, `PERHAPS_PROCESSED`), and what the
  policy's `on` calls it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import FLAG_FIELD, UNPROCESSED_FIELD
from sidecar.core.flags import UF
from sidecar.core.routing.retry import FOREVER, PERHAPS_PROCESSED, REFUSED, UNPROCESSED, may_retry, pause_seconds

if TYPE_CHECKING:
    from sidecar.core.http.messages import ResponseHead
    from sidecar.core.routing.endpoint import Endpoint
    from sidecar.proxy.upstream.destination import Destination

_UNREACHABLE: Final = UF.code.encode()


class Verdict(Enum):
    """What follows a failed attempt."""

    RETRY = "retry"
    FAIL = "fail"
    LIMIT_REACHED = "limit reached"  # as many attempts as the policy allows have failed: the flag URX


def take(destination: Destination, tried: list[Endpoint], method: bytes, failure: int, kind: str) -> Verdict:
    """Decide on another attempt after one that failed and those on `tried`, and take it from the service's budget."""
    cluster = destination.cluster
    policy = cluster.policy.retries
    now = destination.runtime.now()
    if kind not in policy.on or not may_retry(method, failure):
        return Verdict.FAIL
    if failure == REFUSED and policy.count and cluster.has_another(tried, now):
        return Verdict.RETRY
    if len(tried) >= policy.count:
        return Verdict.LIMIT_REACHED if tried else Verdict.FAIL
    if cluster.retry_budget.take(now, policy.budget_percent, failure):
        return Verdict.RETRY
    destination.meter.retry_budget_exhausted += 1
    return Verdict.FAIL


def keep_pause(destination: Destination, endpoint: Endpoint, head: ResponseHead) -> bool:
    """Leave the endpoint alone for as long as its answer asks. Return whether a retry may be made at all."""
    pause = pause_seconds(head.fields)
    if pause is None:
        return True
    if pause == FOREVER:
        return False
    now = destination.runtime.now()
    endpoint.rests_until = now + pause
    return destination.cluster.takes_retry(now)


def failure_of(head: ResponseHead) -> tuple[int, str]:
    """Return what kind of failure this answer is: how far the request came, and the policy's name for it."""
    if head.get(UNPROCESSED_FIELD) is None:
        return PERHAPS_PROCESSED, str(head.status)
    flags = head.get(FLAG_FIELD) or b""
    return (REFUSED if flags.startswith(_UNREACHABLE) else UNPROCESSED), "503"  # gRPC's status is 200
