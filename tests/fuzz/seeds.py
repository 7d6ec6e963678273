"""Inputs to begin with: good ones of each kind, which a fuzzer damages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidecar.core.http.http2 import PREFACE
from tests.support.wire import http2

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "snapshots"
REQUESTS: Final = (
    b"GET /a?b HTTP/1.1\r\nHost: a:80\r\nConnection: close, x\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
    b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n",
    b"GET http://b/c HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
)
RESPONSES: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: 1\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nto the end",
)
_HEAD: Final = http2.plain_block([(b":status", b"200"), (b"content-type", b"application/grpc")])
FRAMES: Final = (
    http2.request() + http2.request(http2.POST, 3, end=False) + http2.frame(http2.DATA, 1, 3, b"hello"),
    http2.frame(http2.SETTINGS, 0, 0, http2.setting(4, 0)) + http2.frame(http2.PING, 0, 0, b"12345678"),
    http2.frame(http2.HEADERS, 4, 1, _HEAD) + http2.frame(http2.DATA, 0, 1, b"\0\0\0\0\x02hi"),
    http2.request([(b"grpc-status", b"0")], 1) + http2.frame(http2.GOAWAY, 0, 0, bytes(8)),
    http2.frame(http2.RST_STREAM, 0, 1, http2.number(8)) + http2.frame(http2.WINDOW_UPDATE, 0, 0, http2.number(1)),
)
_CUTS: Final = b"\x00\x40\x80"

SEEDS: Final[dict[str, tuple[bytes, ...]]] = {
    "http1_requests": tuple(_CUTS + data for data in REQUESTS),
    "http1_responses": tuple(b"\0" + _CUTS + data for data in RESPONSES),
    "http1_large_bodies": (b"\x00\x10\x80\xf0", b"\x03\x01\x02\xfe\xff" * 3),
    "http1_websocket": tuple(_CUTS + data for data in REQUESTS),
    "http2_server": tuple(_CUTS + data for data in FRAMES),
    "http2_preface": tuple(_CUTS + PREFACE + data for data in FRAMES),
    "http2_block": (
        b"\xff\xa0\xa0", b"\xff" + http2.plain_block([(b"a", b"b")]), b"\x01" + http2.plain_block(http2.POST),
    ),
    "http2_fields": (b"a=b\ncontent-length=0\nte=trailers\nhost=svc", b"GET\n/a\nsvc:80"),
    "http2_client": (*(_CUTS + data for data in FRAMES), b"\xff\x40\x80" + _HEAD),
    "grpc_values": (b"10S", b"99999999H", b"14", b"application/grpc+proto"),
    "snapshots": tuple(path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))),
    "policies": (b'{"retries": {"count": 3, "on": ["reset"]}, "timeouts": {"request_seconds": 1.5}}',),
    "histograms": (b"\0\0\0\0\0\0\xf0\x3f" * 3,),
    "traces": (b"Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1",
               b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "log_texts": (b"curl/8 \xc3\xa9\n\"quoted\"",),
    "authorities": (b"orders:80", b"[::1]:8080", b"10.0.0.1"),
}  # fmt: skip
"""By the target's name."""
