"""The file descriptors of this process: each socket takes one, and what the limit does not allow fails.

Rules:
- The limit is raised as far as it goes at the start: the soft one is often 1,024, for programs of another age.
- Listeners take at most `LISTENERS_SHARE` of them. The rest is for traffic, the admin port and the control plane: a
  sidecar that only listens is of no use.
- The last `RESERVED` are not for traffic, neither for clients nor to endpoints: with them the admin port, the control
  plane and the files still work, so that what is wrong can be seen. The event loop itself closes what it cannot accept
  without a word.
- When they are gone, connections of clients that nobody uses are closed (`sidecar/proxy/base/clients.py`).
- Want of descriptors is this process's own: no endpoint is blamed for it, and it is said once a minute.
"""

from __future__ import annotations

import errno
import logging
import resource
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

LISTENERS_SHARE: Final = 0.5
"""Requests take two descriptors, one on each side."""
RESERVED: Final = 24
"""A few readers of the admin port, the calls to the API and to AWS, the cache and hosts files, /proc."""
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


def is_reserved(transport: asyncio.BaseTransport) -> bool:
    """Return whether a connection has a descriptor that is not for traffic. The kernel gives the lowest free number."""
    connection = transport.get_extra_info("socket")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if connection is None or limit == resource.RLIM_INFINITY:
        return False
    descriptor: int = connection.fileno()
    return descriptor >= limit - RESERVED


def is_exhausted(error: OSError) -> bool:
    """Return whether something failed because no descriptor was free."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


class Complaint:
    """Says that descriptors are short, now and then."""

    def __init__(self) -> None:
        self._said_at = -SAID_SECONDS

    def say(self, now: float) -> None:
        """Log that a connection could not be made."""
        if now - self._said_at >= SAID_SECONDS:
            self._said_at = now
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            log.error(
                "no file descriptor is left of %d, new connections fail: raise `ulimits` `nofile` in the "
                "sidecar's container definition",
                limit,
            )
