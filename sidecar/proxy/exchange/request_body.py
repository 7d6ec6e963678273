"""What has come of a request behind its head, kept as long as another attempt may need it.

Rules:
- It is kept up to `MAX_KEPT_BODY_BYTES`, and all bodies together up to a part of the memory (`held`), and streamed at
  the same time. A longer one cannot be sent again, and so cannot the request.
- What comes before any connection stands is kept whatever its length, and its client is paused.
- Once the answer has begun nothing is kept any more, and nothing more of a body under way while memory is short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.http.messages import END, Fields
from sidecar.core.routing.retry import MAX_KEPT_BODY_BYTES

if TYPE_CHECKING:
    from sidecar.proxy.base.interfaces import Upstream
    from sidecar.proxy.base.runtime import Runtime


class RequestBody:
    """The body and the trailers of one request."""

    __slots__ = ("_parts", "_runtime", "_size", "is_kept", "is_whole", "trailers")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._parts: list[bytes] | None = None
        self._size = 0  # as far as it was kept
        self.is_kept = True  # all that has come can be sent again
        self.is_whole = False
        self.trailers: Fields = END.trailers

    def add(self, data: bytes, is_sent: bool) -> None:
        """Take a piece of the body, which goes to an endpoint at once or waits for a connection."""
        if not self.is_kept:
            return
        count = len(data)
        if is_sent and (self._size + count > MAX_KEPT_BODY_BYTES or self._is_short()):
            self.forget()
            return
        self._size += count
        self._runtime.held.bodies += count
        if self._parts is None:
            self._parts = [data]
        else:
            self._parts.append(data)

    def _is_short(self) -> bool:
        """Return whether memory is too short to keep more."""
        return self._runtime.shedding or not self._runtime.held.takes_bodies()

    def fills_up(self) -> bool:
        """Return whether so much has come without a connection that the client has to wait."""
        return self._size >= MAX_KEPT_BODY_BYTES or self._is_short()

    def end(self, trailers: Fields) -> None:
        """Note that the request is whole."""
        self.is_whole = True
        self.trailers = trailers

    def forget(self) -> None:
        """Forget the body: it will not be sent again."""
        self.is_kept = False
        if self._parts is not None:
            self._parts = None
            self._runtime.held.bodies -= self._size

    def send(self, connection: Upstream) -> bool:
        """Send what has come so far. Return whether there was any of it."""
        parts = self._parts
        if parts is not None:
            for data in parts:
                connection.send_data(data)
            if self._size > MAX_KEPT_BODY_BYTES or self._is_short():
                self.forget()
        if self.is_whole:
            connection.send_end(self.trailers)
        return parts is not None
