"""What can go wrong with a request, whose fault it is, and what the proxy answers.

Rules:
- `ProtocolError` is the only exception that parsing bytes of a peer can raise. It carries the status to
  answer with when the peer was a client; when it was a server the answer is always 502.
- A `LocalReply` is an answer that the proxy makes by itself. Each has one response flag, named as Envoy's
  access log names it, so that operators find what they know.
- A local reply with `unprocessed` was made before a byte of the request reached the application. It says so
  in the field `tramo-unprocessed`, and the calling sidecar may send the request elsewhere, whatever its method.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.overload import RETRY_AFTER_SECONDS


class ProtocolError(Exception):
    """The peer broke the protocol."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class LocalReply:
    """An answer made by the proxy: status, flag and one sentence that says what to do."""

    __slots__ = ("flag", "message", "retry_after", "status", "unprocessed")

    def __init__(
        self, status: int, flag: str, message: str, unprocessed: bool = False, retry_after: int | None = None
    ) -> None:
        self.status = status
        self.flag = flag
        self.message = message
        self.unprocessed = unprocessed
        self.retry_after = retry_after  # seconds

    def fields(self) -> list[tuple[bytes, bytes]]:
        """The fields that tell programs what the message tells people."""
        found = [(FLAG_FIELD, self.flag.encode())]
        if self.unprocessed:
            found.append((UNPROCESSED_FIELD, b"true"))
        if self.retry_after is not None:
            found.append((b"retry-after", b"%d" % self.retry_after))
        return found

    def flagged(self, flags: str) -> LocalReply:
        """The same answer with more flags, separated by commas."""
        return LocalReply(self.status, flags, self.message, self.unprocessed, self.retry_after)

    def __repr__(self) -> str:
        return f"<LocalReply {self.status} {self.flag}>"


UNPROCESSED_FIELD: Final = b"tramo-unprocessed"
FLAG_FIELD: Final = b"tramo-response-flags"

NO_ROUTE: Final = LocalReply(404, "NR", "no service of this name in the namespace; see the sidecar's /clusters", True)
NO_HEALTHY_UPSTREAM: Final = LocalReply(503, "UH", "the service has no endpoint that can take a request", True)
UPSTREAM_CONNECT_FAILURE: Final = LocalReply(503, "UF", "no connection to the service could be made", True)
UPSTREAM_OVERFLOW: Final = LocalReply(503, "UO", "the circuit breaker of the service is open", True)
UPSTREAM_RESET: Final = LocalReply(502, "UC", "the service closed the connection before it answered")
UPSTREAM_PROTOCOL_ERROR: Final = LocalReply(502, "UPE", "the service's answer was not valid HTTP")
REQUEST_TIMEOUT: Final = LocalReply(504, "UT", "the service did not answer within the request time-out")
ATTEMPT_TIMEOUT: Final = LocalReply(504, "UT", "the service did not begin to answer within the per-try time-out")
OVERLOADED: Final = LocalReply(503, "OM", "the sidecar is short of memory", True, retry_after=RETRY_AFTER_SECONDS)

DOWNSTREAM_DISCONNECT: Final = "DC"
