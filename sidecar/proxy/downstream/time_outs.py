"""How long a client may take, over HTTP/1.1 and HTTP/2 alike."""

from __future__ import annotations

from typing import Final

HEAD_SECONDS: Final = 10.0
"""From the first byte of a head to its last. Slow heads are an attack or a broken client."""
BODY_IDLE_SECONDS: Final = 30.0
"""Silence in the middle of a request's body."""
KEEP_ALIVE_SECONDS: Final = 300.0
"""Silence between requests: Service Connect's idle time-out."""
LINGER_SECONDS: Final = 5.0
"""For the last bytes of a connection: until a client that was refused has read why, or has taken the last frames."""
CLOSING_SECONDS: Final = 30.0
"""For the last answers of an HTTP/1.1 connection; what the client has not taken then is dropped."""
