"""HTTP/1.1 to the wire (RFC 9112): heads and bodies to bytes.

The framing comes from the head's `content_length` alone, so that what was read as one message is written as one.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead

REASONS: Final = {
    100: b"Continue", 101: b"Switching Protocols", 200: b"OK", 201: b"Created", 202: b"Accepted",
    204: b"No Content", 206: b"Partial Content", 301: b"Moved Permanently", 302: b"Found", 303: b"See Other",
    304: b"Not Modified", 307: b"Temporary Redirect", 308: b"Permanent Redirect", 400: b"Bad Request",
    401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large", 414: b"URI Too Long",
    417: b"Expectation Failed", 426: b"Upgrade Required", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_STATUS_LINES: Final = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in REASONS.items()}


def encode_request_head(head: RequestHead) -> bytes:
    """Return the head as HTTP/1.1, with the framing of its body."""
    parts = [head.method, b" ", head.target, b" HTTP/1.1\r\nhost: ", head.authority, b"\r\n"]
    for name, value in head.fields:
        parts += (name, b": ", value, b"\r\n")
    if head.content_length > 0:
        parts.append(b"content-length: %d\r\n" % head.content_length)
    elif head.content_length == UNKNOWN_LENGTH:
        parts.append(b"transfer-encoding: chunked\r\n")
    elif head.method in (b"POST", b"PUT", b"PATCH"):
        parts.append(b"content-length: 0\r\n")  # RFC 9110 section 8.6: these methods expect a body
    if head.expect_continue:
        parts.append(b"expect: 100-continue\r\n")
    if head.upgrade:
        parts.append(b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade)
    parts.append(b"\r\n")
    return b"".join(parts)


def encode_response_head(head: ResponseHead, method: bytes, close: bool = False, chunks: bool = True) -> bytes:
    """Return the head as HTTP/1.1, with the framing of its body, as the answer to a request with this method.

    Without `chunks`, for HTTP/1.0, a body of unknown length ends with the connection.
    """
    status = head.status
    parts = [_status_line(status, head.reason)]
    for name, value in head.fields:
        parts += (name, b": ", value, b"\r\n")
    if status >= 200:
        if head.content_length > 0:
            parts.append(b"content-length: %d\r\n" % head.content_length)
        elif head.content_length == UNKNOWN_LENGTH:
            if chunks:
                parts.append(b"transfer-encoding: chunked\r\n")
        elif status not in (204, 304) and method != b"HEAD":
            parts.append(b"content-length: 0\r\n")
        if close:
            parts.append(b"connection: close\r\n")
    elif head.upgrade:
        parts.append(b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade)
    parts.append(b"\r\n")
    return b"".join(parts)


def _status_line(status: int, reason: bytes) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None or (reason and reason != REASONS[status]):
        return b"HTTP/1.1 %d %b\r\n" % (status, reason or REASONS.get(status, b""))
    return line


def encode_chunk(data: bytes) -> bytes:
    """Return data as one chunk; never empty, since an empty chunk is the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_last_chunk(trailers: Fields) -> bytes:
    """Return the last chunk, with trailer fields."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"".join([b"0\r\n", *[b"%b: %b\r\n" % field for field in trailers], b"\r\n"])
