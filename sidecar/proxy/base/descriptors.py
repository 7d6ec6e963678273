"""The file descriptors of this process: each socket takes one, and what the limit does not allow fails.

Rules:
- The limit is raised as far as it goes at the start: the soft one is often 1,024, for programs of another age.
- Listeners take at most `LISTENERS_SHARE` of them. The rest is for traffic, the admin port and the control plane: a
  sidecar that only listens is of no use.
- Want of descriptors is this process's own: no endpoint is blamed for it, and it is said once a minute.
"""

from __future__ import annotations

import errno
import logging
import resource
from typing import Final

LISTENERS_SHARE: Final = 0.5
"""Requests take two descriptors, one on each side."""
SAID_SECONDS: Final = 60.0
OUT_OF_DESCRIPTORS: Final = "no file descriptor is left"

log = logging.getLogger("tramo.descriptors")


def raise_limit() -> None:
    """Allow this process as many descriptors as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_listener(descriptor: int) -> None:
    """Raise OSError when another listener would take what traffic needs. The kernel gives the lowest free number."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and descriptor >= limit * LISTENERS_SHARE:
        raise OSError(errno.EMFILE, f"listeners have {LISTENERS_SHARE:.0%} of the {limit} file descriptors")


def is_exhausted(error: OSError) -> bool:
    """Whether it is for want of descriptors that something failed."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


class Complaint:
    """Says that descriptors are short, now and then."""

    def __init__(self) -> None:
        self._said_at = -SAID_SECONDS

    def say(self, now: float) -> None:
        """A connection could not be made."""
        if now - self._said_at >= SAID_SECONDS:
            self._said_at = now
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            log.error(
                "no file descriptor is left of %d, connections to endpoints fail: raise `ulimits` `nofile` in the "
                "sidecar's container definition",
                limit,
            )
