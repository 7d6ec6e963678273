"""The status codes of gRPC that a proxy uses (grpc.github.io/grpc/core/md_doc_statuscodes.html)."""

from __future__ import annotations

from typing import Final

OK: Final = 0
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
