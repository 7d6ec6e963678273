"""Why the proxy failed or cut a request, in one table: the response flags, in the words of Envoy's access log.

Rules:
- A local reply has one flag; a request that was retried may end with several. They are a tuple until somebody outside
  reads them: `joined` is their form in a header, a log or a span.
- A flag with `unprocessed` says that no byte of the request reached the application: its sender may send it again.
- The status and the gRPC status are what the client gets. A flag with status 0 goes with no answer of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sidecar.core.http.grpc_status import DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, UNIMPLEMENTED, UNKNOWN


class Flag(NamedTuple):
    """One response flag."""

    code: str
    status: int
    grpc_status: int
    unprocessed: bool
    meaning: str


Flags = tuple[Flag, ...]

UH: Final = Flag("UH", 503, UNAVAILABLE, True, "the service has no endpoint that can take a request")
UF: Final = Flag("UF", 503, UNAVAILABLE, True, "no connection to the service could be made")
UO: Final = Flag("UO", 503, UNAVAILABLE, True, "the circuit breaker was open")
UT: Final = Flag(
    "UT",
    504,
    DEADLINE_EXCEEDED,
    False,
    "the service did not answer within its time-outs, or a stream was silent for too long",
)
URX: Final = Flag("URX", 0, UNKNOWN, False, "all retries that the policy allows were used up")
UC: Final = Flag("UC", 502, UNAVAILABLE, False, "the service's connection broke before its answer was whole")
UPE: Final = Flag("UPE", 502, UNAVAILABLE, False, "the service's answer was not valid HTTP")
OM: Final = Flag("OM", 503, UNAVAILABLE, True, "the sidecar was short of memory")
NR: Final = Flag("NR", 404, UNIMPLEMENTED, True, "no service of this name in the namespace")
DC: Final = Flag("DC", 0, UNKNOWN, False, "the client went away before the answer was whole")
DPE: Final = Flag("DPE", 400, INTERNAL, False, "the client broke the protocol")

FLAGS: Final = (UH, UF, UO, UT, URX, UC, UPE, OM, NR, DC, DPE)


def joined(flags: Flags) -> str:
    """Return the codes of these flags, separated by commas."""
    return ",".join([flag.code for flag in flags])
