"""What can go wrong with a request, whose fault it is, and what the proxy answers.

Rules:
- `ProtocolError` is the only exception that parsing bytes of a peer can raise. It carries the status to
  answer with when the peer was a client; when it was a server the answer is always 502.
- A `LocalReply` is an answer that the proxy makes by itself. Its response flag, of the table in `flags`, gives its
  status.
- A local reply whose flag is `unprocessed` was made before a byte of the request reached the application. It says so
  in the field `tramo-unprocessed`, and the calling sidecar may send the request elsewhere, whatever its method.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.flags import DPE, NR, OM, UC, UF, UH, UO, UPE, UT, Flag, Flags, joined
from sidecar.core.overload import RETRY_AFTER_SECONDS


class ProtocolError(Exception):
    """The peer broke the protocol."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class LocalReply:
    """An answer made by the proxy: status, flags and one sentence that says what to do."""

    __slots__ = ("flags", "message", "retry_after", "status")

    def __init__(
        self, flag: Flag, message: str, status: int | None = None, retry_after: int | None = None, others: Flags = ()
    ) -> None:
        self.flags: Flags = (flag, *others)
        self.message = message
        self.status = flag.status if status is None else status
        self.retry_after = retry_after  # seconds

    @property
    def flag(self) -> Flag:
        """Why it is made; the others say what came before."""
        return self.flags[0]

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the fields that tell programs what the message tells people."""
        found = [(FLAG_FIELD, joined(self.flags).encode())]
        if self.flag.unprocessed:
            found.append((UNPROCESSED_FIELD, b"true"))
        if self.retry_after is not None:
            found.append((b"retry-after", b"%d" % self.retry_after))
        return found

    def with_flags(self, others: Flags) -> LocalReply:
        """Return the same answer with more flags."""
        return LocalReply(self.flag, self.message, self.status, self.retry_after, others)

    def __repr__(self) -> str:
        return f"<LocalReply {self.status} {joined(self.flags)}>"


UNPROCESSED_FIELD: Final = b"tramo-unprocessed"
FLAG_FIELD: Final = b"tramo-response-flags"

NO_ROUTE: Final = LocalReply(NR, "no service of this name in the namespace; see the sidecar's /clusters")
NO_HEALTHY_UPSTREAM: Final = LocalReply(UH, "the service has no endpoint that can take a request")
SPEAKS_TCP: Final = LocalReply(UH, "the service speaks TCP now; a new connection reaches it")
UPSTREAM_CONNECT_FAILURE: Final = LocalReply(UF, "no connection to the service could be made")
UPSTREAM_OVERFLOW: Final = LocalReply(UO, "the circuit breaker of the service is open")
UPSTREAM_REFUSED: Final = LocalReply(UF, "the service did not take the request")
UPSTREAM_RESET: Final = LocalReply(UC, "the service closed the connection before it answered")
UPSTREAM_PROTOCOL_ERROR: Final = LocalReply(UPE, "the service's answer was not valid HTTP")
REQUEST_TIMEOUT: Final = LocalReply(UT, "the service did not answer within the request time-out")
ATTEMPT_TIMEOUT: Final = LocalReply(UT, "the service did not begin to answer within the per-try time-out")
OVERLOADED: Final = LocalReply(OM, "the sidecar is short of memory", retry_after=RETRY_AFTER_SECONDS)
NOT_TAKEN: Final = LocalReply(
    UC, "the service did not take the request, and too many bytes waited for it", others=(OM,)
)


def client_error(error: ProtocolError) -> LocalReply:
    """Return the answer to a client that broke the protocol."""
    return LocalReply(DPE, error.reason, error.status)
