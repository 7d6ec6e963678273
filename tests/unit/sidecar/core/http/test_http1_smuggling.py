"""Requests on which two servers could disagree where they end: all refused, however the bytes are cut.

The classes are those of RFC 9112 section 11.2 and of the published request smuggling collections.
"""

from __future__ import annotations

from typing import Final

import pytest

from sidecar.core.errors import ProtocolError
from sidecar.core.http.http1_requests import RequestReader
from tests.support.wire.http1 import feed, pieces, summary

LENGTH: Final = {
    "with chunked": (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "behind chunked": (b"Transfer-Encoding: chunked", b"Content-Length: 3"),
    "twice": (b"Content-Length: 3", b"Content-Length: 3"),
    "twice, different": (b"Content-Length: 3", b"Content-Length: 4"),
    "a list": (b"Content-Length: 3, 3",),
    "a sign": (b"Content-Length: +3",),
    "negative": (b"Content-Length: -3",),
    "hexadecimal": (b"Content-Length: 0x3",),
    "an underscore": (b"Content-Length: 3_0",),
    "empty": (b"Content-Length:",),
    "a vertical tab": (b"Content-Length: \x0b3",),
    "a blank inside": (b"Content-Length: 3 4",),
    "a no-break space": (b"Content-Length: 3\xa0",),
    "2**63": (b"Content-Length: 9223372036854775808",),
    "2**64 + 3": (b"Content-Length: 18446744073709551619",),
    "a blank before the colon": (b"Content-Length : 3",),
    "a tab before the colon": (b"Content-Length\t: 3",),
    "folded": (b"Content-Length:", b" 3"),
    "fullwidth digits": (b"Content-Length: \xef\xbc\x93",),
}
CODING: Final = {
    "gzip": b"Transfer-Encoding: gzip",
    "identity": b"Transfer-Encoding: identity",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip",
    "a leading comma": b"Transfer-Encoding: ,chunked",
    "a trailing comma": b"Transfer-Encoding: chunked,",
    "twice in one": b"Transfer-Encoding: chunked, chunked",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "identity first": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "quoted": b'Transfer-Encoding: "chunked"',
    "with a parameter": b"Transfer-Encoding: chunked;q=1",
    "xchunked": b"Transfer-Encoding: xchunked",
    "empty": b"Transfer-Encoding:",
    "a vertical tab": b"Transfer-Encoding: \x0bchunked",
    "a no-break space": b"Transfer-Encoding: \xa0chunked",
    "a blank before the colon": b"Transfer-Encoding : chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "a folded line before": b"X: y\r\n Transfer-Encoding: chunked",
    "bare CR in front": b"X: y\rTransfer-Encoding: chunked",
    "bare LF in front": b"X: y\nTransfer-Encoding: chunked",
    "NUL behind": b"Transfer-Encoding: chunked\x00",
    "named by Connection": b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
}
HEAD: Final = {
    "LF after the request line": b"POST / HTTP/1.1\nHost: a\r\n\r\n",
    "LF after a field": b"POST / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "LF as the empty line": b"POST / HTTP/1.1\r\nHost: a\r\n\n",
    "LF everywhere": b"POST / HTTP/1.1\nHost: a\n\n",
    "bare CR in a value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "bare CR in a name": b"POST / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n",
    "CR CR LF at the end": b"POST / HTTP/1.1\r\nHost: a\r\n\r\r\n",
    "CR X at the end": b"POST / HTTP/1.1\r\nHost: a\r\n\rX",
    "NUL in a value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "control in a value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "DEL in a value": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    "folded field": b"POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "folded Host": b"POST / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "blank before the first field": b"POST / HTTP/1.1\r\n Host: a\r\n\r\n",
    "no colon": b"POST / HTTP/1.1\r\nHost: a\r\nXfoo\r\n\r\n",
    "no name": b"POST / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "blank in a name": b"POST / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    "delimiter in a name": b"POST / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n",
    "\\xff in a name": b"POST / HTTP/1.1\r\nHost: a\r\nX\xff: z\r\n\r\n",
    "tab in the request line": b"POST\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank behind the version": b"POST / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "two blanks before the target": b"POST  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two blanks before the version": b"POST /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "two empty lines in front": b"\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF in front": b"\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR in front": b"\rPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR CR LF in front": b"\r\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in front": b" POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in the target": b"POST /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control in the target": b"POST /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the target": b"POST /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\\xff in the target": b"POST /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "body of TRACE": b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "chunked body of TRACE": b"TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
CHUNKS: Final = {
    "LF behind the size": b"3\nabc\r\n0\r\n\r\n",
    "LF behind the data": b"3\r\nabc\n0\r\n\r\n",
    "LF behind the last chunk": b"3\r\nabc\r\n0\n\r\n",
    "LF as the last line": b"3\r\nabc\r\n0\r\n\n",
    "CR X as the last line": b"3\r\nabc\r\n0\r\n\rX",
    "CR CR LF behind the size": b"3\r\r\nabc\r\n0\r\n\r\n",
    "data longer than its size": b"2\r\nabc\r\n0\r\n\r\n",
    "data shorter than its size": b"4\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "an underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "a blank before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "a blank behind the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "2**64 + 3": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "LF ends an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "CR inside an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a=\x00\r\nabc\r\n0\r\n\r\n",
    "no empty line at the end": b"3\r\nabc\r\n0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a length in the trailer": b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a coding in the trailer": b"3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a host in the trailer": b"3\r\nabc\r\n0\r\nHost: b\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nX: a\r\n b\r\n\r\n",
    "LF behind a trailer": b"3\r\nabc\r\n0\r\nX: a\n\r\n",
    "a trailer without colon": b"3\r\nabc\r\n0\r\nXfoo\r\n\r\n",
}


def cases() -> dict[str, bytes]:
    found = {f"length {name}": _post(*lines) + b"3\r\nabc\r\n0\r\n\r\n" for name, lines in LENGTH.items()}
    found |= {f"coding {name}": _post(line) + b"3\r\nabc\r\n0\r\n\r\n" for name, line in CODING.items()}
    found |= {f"head: {name}": data for name, data in HEAD.items()}
    found |= {f"chunk: {name}": _post(b"Transfer-Encoding: chunked") + data for name, data in CHUNKS.items()}
    return found


def _post(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *lines, b"", b""])


@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "by the byte"])
@pytest.mark.parametrize("name", cases())
def test_ambiguous_framing_is_refused(name: str, size: int) -> None:
    with pytest.raises(ProtocolError):
        feed(RequestReader(), pieces(cases()[name], size))


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 0003",),
        (b"Content-Length:3",),
        (b"Content-Length: \t3 \t",),
        (b"content-LENGTH: 3",),
    ],
)
def test_odd_but_clear_lengths_are_made_plain(lines: tuple[bytes, ...]) -> None:
    found = summary(RequestReader().feed(_post(*lines) + b"abc"))
    assert (found[0].content_length, found[0].body, found[0].fields) == (3, b"abc", [])


@pytest.mark.parametrize(
    "body", [b"0003\r\nabc\r\n00\r\n\r\n", b"3;a;b=c\r\nabc\r\n0;d\r\n\r\n", b'3;a="b;c"\r\nabc\r\n0\r\n\r\n']
)
def test_odd_but_clear_chunks_are_made_plain(body: bytes) -> None:
    found = summary(RequestReader().feed(_post(b"Transfer-Encoding: CHUNKED") + body))
    assert (found[0].body, found[0].fields, found[0].ended) == (b"abc", [], True)
