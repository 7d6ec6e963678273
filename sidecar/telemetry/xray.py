"""Spans as segment documents to the X-Ray daemon, one UDP datagram each.

https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html and, for the header line of a datagram,
https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html

Rules:
- What came in is a segment. What goes out is a subsegment of the segment that the request names as its parent; if
  it names none, it is a segment of this task's service with the call as its subsegment, so that no trace begins
  with a subsegment.
- Nothing waits and nothing is sent twice: what the socket does not take is dropped and counted, as is UDP's way.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sidecar.core.trace import Span

HEADER_LINE: Final = b'{"format": "json", "version": 1}\n'
MAX_DATAGRAM_BYTES: Final = 65_507
ORIGIN: Final = "AWS::ECS::Container"


class XRayExporter:
    """Sends spans to one daemon."""

    name: Final = "xray"

    def __init__(self, address: tuple[Any, ...], family: int, service: str, random: Callable[[int], int]) -> None:
        self.sent = 0
        self.dropped = 0
        self._service = service
        self._random = random
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._address = address

    def export(self, span: Span) -> None:
        """Send a span, or drop it."""
        data = HEADER_LINE + msgspec.json.encode(document(span, self._service, self._random))
        try:
            if len(data) > MAX_DATAGRAM_BYTES:
                raise OSError("larger than a datagram")
            self._socket.sendto(data, self._address)
        except OSError:  # the daemon is not there, or the socket is full: counted, as saying so each time would flood
            self.dropped += 1
        else:
            self.sent += 1

    def close(self) -> None:
        """Send no more."""
        self._socket.close()


def document(span: Span, service: str, random: Callable[[int], int]) -> dict[str, Any]:
    """Return the segment document of a span, sent by a task of this service."""
    common = {"trace_id": span.trace_id, "start_time": span.start, "end_time": span.end}
    part = {"id": span.id, "http": _http(span), "annotations": _annotations(span), **_outcome(span)}
    if span.inbound:
        parent = {"parent_id": span.parent_id} if span.parent_id else {}
        return {"name": _name(span.name), "origin": ORIGIN, **common, **parent, **part}
    call = {"name": _name(span.name), "namespace": "remote", **part}
    if span.parent_id:
        return {"type": "subsegment", "parent_id": span.parent_id, **common, **call}
    times = {"start_time": span.start, "end_time": span.end}
    root = {"name": _name(service), "id": f"{random(64):016x}", "origin": ORIGIN, **common}
    return {**root, "subsegments": [{**call, **times}]}


def _http(span: Span) -> dict[str, Any]:
    url = f"http://{span.authority}{span.path}"
    request = {"method": span.method, "url": url, "user_agent": span.user_agent}
    if span.inbound:
        request["client_ip"] = span.client
    found: dict[str, Any] = {"request": {key: value for key, value in request.items() if value}}
    if span.status:
        found["response"] = {"status": span.status, "content_length": span.bytes_sent}
    return found


def _annotations(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {"direction": "inbound" if span.inbound else "outbound", "retries": span.retries}
    if span.flags:
        found["response_flags"] = span.flags
    if span.upstream:
        found["upstream_host"] = span.upstream
    return found


def _outcome(span: Span) -> dict[str, bool]:
    if span.status == 429:
        return {"error": True, "throttle": True}
    if 400 <= span.status < 500:
        return {"error": True}
    return {"fault": True} if span.status >= 500 or span.flags else {}


_NAME_CHARACTERS: Final = frozenset(" _.:/%&#=+\\-@")


def _name(text: str) -> str:
    """Return a segment's name: letters, digits, white space and some signs, at most 200."""
    kept = "".join(character for character in text if character.isalnum() or character in _NAME_CHARACTERS)
    return kept[:200] or "unknown"
