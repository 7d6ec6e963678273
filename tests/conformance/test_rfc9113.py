"""RFC 9113 by raw frames, at the sidecar's listener: one test for each rule, named after its section.

A stream error may be answered by a connection error (section 5.4), and a connection may be closed without GOAWAY where
the peer did not speak HTTP/2 at all (section 3.4); the tests take both.
"""

from __future__ import annotations

import struct

import pytest

from sidecar.core.http.http2 import PREFACE
from sidecar.core.http.http2_limits import MAX_STREAMS
from tests.conformance.conftest import LARGE, Connect
from tests.support.wire.http2 import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    POST,
    PRIORITISED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Frame,
    RawClient,
    frame,
    number,
    plain_block,
    replaced,
    request,
    setting,
    with_fields,
)

BLOCK = plain_block(GET)
POST_BLOCK = plain_block(POST)
ECHO = replaced(b":path", b"/echo", POST)
LARGE_GET = replaced(b":path", b"/large")
INITIAL_WINDOW = 65_535


def connection_error(client: RawClient, *codes: int) -> None:
    """The connection must end with a GOAWAY of one of these codes."""
    assert not client.is_alive(), "the connection goes on"
    assert client.last_words() in codes


def stream_error(client: RawClient, stream: int, *codes: int) -> None:
    """The stream must be reset with one of these codes, or the connection must end with one."""
    for _ in range(2):  # an answer to PING may overtake; behind the second one nothing is on its way
        client.is_alive()
    errors = [f for f in client.frames if (f.type == RST_STREAM and f.stream == stream) or f.type == GOAWAY]
    assert errors, "no error came"
    assert errors[-1].code() in codes


def served(client: RawClient, stream: int) -> None:
    """A request on this stream must be answered."""
    client.send(request(stream=stream))
    assert client.headers(stream)[b":status"] == b"200"


# 3.4. HTTP/2 Connection Preface


def test_3_4_the_server_preface_is_a_settings_frame(connect: Connect) -> None:
    client = connect(greet=False)
    client.send(PREFACE + frame(SETTINGS))
    found = client.read()
    assert found is not None
    assert (found.type, found.flags, found.stream) == (SETTINGS, 0, 0)


def test_3_4_settings_of_the_client_are_acknowledged(connect: Connect) -> None:
    client = connect(greet=False)
    client.send(PREFACE + frame(SETTINGS))
    client.wait(lambda f: f.type == SETTINGS and f.flags == ACK and not f.payload)


def test_3_4_requests_may_follow_the_preface_at_once(connect: Connect) -> None:
    client = connect(greet=False)
    client.send(PREFACE + frame(SETTINGS) + request())
    assert client.headers(1)[b":status"] == b"200"


def test_3_4_an_invalid_preface_is_refused(connect: Connect) -> None:
    client = connect(greet=False)
    client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS))
    while client.read() is not None:
        """Whatever it says."""
    assert client.closed


def test_3_4_a_preface_without_settings_is_refused(connect: Connect) -> None:
    client = connect(greet=False)
    client.send(PREFACE + frame(PING, 0, 0, bytes(8)))
    connection_error(client, PROTOCOL_ERROR)


def test_3_4_a_settings_acknowledgement_is_no_preface(connect: Connect) -> None:
    client = connect(greet=False)
    client.send(PREFACE + frame(SETTINGS, ACK))
    connection_error(client, PROTOCOL_ERROR)


# 4.1. Frame Format


def test_4_1_frames_of_unknown_type_are_ignored(client: RawClient) -> None:
    client.send(frame(0x16, 0xFF, 0, b"unknown"))
    assert client.is_alive()


def test_4_1_frames_of_unknown_type_on_a_stream_are_ignored(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(0x16, 0xFF, 1, b"unknown"), frame(DATA, END_STREAM, 1, b"x"))
    assert client.response(1)[1] == b"x"


def test_4_1_undefined_flags_are_ignored(client: RawClient) -> None:
    client.send(frame(PING, 0x16, 0, bytes(8)))
    client.wait(lambda f: f.type == PING and bool(f.flags & ACK))


def test_4_1_the_reserved_bit_is_ignored(client: RawClient) -> None:
    client.send(frame(PING, 0, 1 << 31, b"reserved"))
    client.wait(lambda f: f.type == PING and f.payload == b"reserved")


# 4.2. Frame Size


def test_4_2_a_frame_of_16384_bytes_is_taken(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, END_STREAM, 1, bytes(16_384)))
    assert len(client.response(1)[1]) == 16_384


def test_4_2_a_larger_data_frame_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, END_STREAM, 1, bytes(16_385)))
    stream_error(client, 1, FRAME_SIZE_ERROR)


def test_4_2_a_larger_headers_frame_is_a_connection_error(client: RawClient) -> None:
    block = plain_block(with_fields((b"x", b"a" * 16_385)))
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    connection_error(client, FRAME_SIZE_ERROR)


def test_4_2_a_larger_unknown_frame_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(0x16, 0, 0, bytes(16_385)))
    connection_error(client, FRAME_SIZE_ERROR)


def test_4_2_frames_sent_are_no_larger_than_the_default(client: RawClient) -> None:
    client.send(request(LARGE_GET), frame(WINDOW_UPDATE, 0, 0, number(LARGE)))
    client.send(frame(WINDOW_UPDATE, 0, 1, number(LARGE)))
    assert len(client.response(1)[1]) == LARGE
    assert max(len(f.payload) for f in client.frames) <= 16_384


# 4.3. Field Section Compression and Decompression


def test_4_3_an_invalid_block_is_a_compression_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x80"))
    connection_error(client, COMPRESSION_ERROR)


def test_4_3_frames_of_others_in_a_block_are_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK), frame(PRIORITY, 0, 3, number(0) + b"\x01"))
    connection_error(client, PROTOCOL_ERROR)


def test_4_3_a_block_of_another_stream_in_a_block_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK), request(stream=3))
    connection_error(client, PROTOCOL_ERROR)


def test_4_3_unknown_frames_in_a_block_are_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK), frame(0x16, 0, 1, b""), frame(CONTINUATION, END_HEADERS, 1))
    connection_error(client, PROTOCOL_ERROR)


def test_4_3_blocks_of_refused_requests_still_change_the_table(client: RawClient) -> None:
    indexed = b"\x40\x01x\x01y"
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain_block(with_fields((b"A", b"b"))) + indexed))
    stream_error(client, 1, PROTOCOL_ERROR)
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, BLOCK + b"\xbe"))
    assert client.headers(3)[b":status"] == b"200"


# 5.1. Stream States


@pytest.mark.parametrize(
    "bad",
    [
        frame(DATA, END_STREAM, 1, b"x"),
        frame(RST_STREAM, 0, 1, number(CANCEL)),
        frame(WINDOW_UPDATE, 0, 1, number(1)),
        frame(CONTINUATION, END_HEADERS, 1, BLOCK),
    ],
    ids=["DATA", "RST_STREAM", "WINDOW_UPDATE", "CONTINUATION"],
)
def test_5_1_idle_frames_that_need_a_stream_are_a_connection_error(client: RawClient, bad: bytes) -> None:
    client.send(bad)
    connection_error(client, PROTOCOL_ERROR, STREAM_CLOSED)


def test_5_1_idle_priority_is_taken(client: RawClient) -> None:
    client.send(frame(PRIORITY, 0, 1, number(0) + b"\x10"))
    served(client, 1)


def test_5_1_half_closed_remote_data_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO), frame(DATA, END_STREAM, 1, b"x"))
    stream_error(client, 1, STREAM_CLOSED)


def test_5_1_half_closed_remote_headers_are_an_error(client: RawClient) -> None:
    client.send(request(ECHO), request(ECHO))
    stream_error(client, 1, STREAM_CLOSED, PROTOCOL_ERROR)


def test_5_1_half_closed_remote_continuation_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO), frame(CONTINUATION, END_HEADERS, 1, POST_BLOCK))
    connection_error(client, STREAM_CLOSED, PROTOCOL_ERROR)


def test_5_1_half_closed_remote_window_update_is_taken(connect: Connect) -> None:
    client = connect(setting(4, 0))
    client.send(request(LARGE_GET), frame(WINDOW_UPDATE, 0, 1, number(10)))
    assert len(client.wait(lambda f: f.type == DATA).payload) == 10


def test_5_1_half_closed_remote_rst_stream_is_taken(connect: Connect) -> None:
    client = connect(setting(4, 0))
    client.send(request(LARGE_GET), frame(RST_STREAM, 0, 1, number(CANCEL)))
    assert client.is_alive()


def test_5_1_half_closed_remote_priority_is_taken(client: RawClient) -> None:
    client.send(request(), frame(PRIORITY, 0, 1, number(0) + b"\x10"))
    assert client.headers(1)[b":status"] == b"200"


def test_5_1_closed_by_rst_stream_later_data_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(RST_STREAM, 0, 1, number(CANCEL)), frame(DATA, END_STREAM, 1, b"x"))
    stream_error(client, 1, STREAM_CLOSED)


def test_5_1_closed_by_rst_stream_later_headers_are_an_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(RST_STREAM, 0, 1, number(CANCEL)), request(ECHO))
    stream_error(client, 1, STREAM_CLOSED)


def test_5_1_closed_later_data_is_a_connection_error(client: RawClient) -> None:
    served(client, 1)
    client.wait(lambda f: f.ends_stream())
    client.send(frame(DATA, END_STREAM, 1, b"x"))
    stream_error(client, 1, STREAM_CLOSED)


def test_5_1_closed_later_headers_are_a_connection_error(client: RawClient) -> None:
    served(client, 1)
    client.wait(lambda f: f.ends_stream())
    client.send(request())
    connection_error(client, STREAM_CLOSED)


def test_5_1_closed_later_continuation_is_a_connection_error(client: RawClient) -> None:
    served(client, 1)
    client.wait(lambda f: f.ends_stream())
    client.send(frame(CONTINUATION, END_HEADERS, 1, BLOCK))
    connection_error(client, STREAM_CLOSED, PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "late",
    [
        frame(WINDOW_UPDATE, 0, 1, number(1)),
        frame(RST_STREAM, 0, 1, number(CANCEL)),
        frame(PRIORITY, 0, 1, number(0) + b"\x10"),
    ],
    ids=["WINDOW_UPDATE", "RST_STREAM", "PRIORITY"],
)
def test_5_1_closed_late_control_frames_are_ignored(client: RawClient, late: bytes) -> None:
    served(client, 1)
    client.wait(lambda f: f.ends_stream())
    client.send(late)
    assert client.is_alive()


# 5.1.1. Stream Identifiers


def test_5_1_1_even_stream_identifiers_are_a_connection_error(client: RawClient) -> None:
    client.send(request(stream=2))
    connection_error(client, PROTOCOL_ERROR)


def test_5_1_1_smaller_stream_identifiers_are_a_connection_error(client: RawClient) -> None:
    served(client, 5)
    client.send(request(stream=3))
    connection_error(client, PROTOCOL_ERROR)


def test_5_1_1_identifiers_may_be_skipped(client: RawClient) -> None:
    for stream in (1, 7, 1_001, 2**31 - 1):
        served(client, stream)


# 5.1.2. Stream Concurrency


def open_streams(client: RawClient, count: int) -> None:
    client.send(*(request(ECHO, stream, end=False) for stream in range(1, 2 * count, 2)))


def test_5_1_2_as_many_streams_as_told_are_taken(client: RawClient) -> None:
    (told,) = [f for f in client.frames if f.type == SETTINGS and not f.flags & ACK]
    limits = dict(struct.iter_unpack(">HI", told.payload))
    open_streams(client, limits[3])
    assert client.is_alive()
    assert not any(f.type == RST_STREAM for f in client.frames)


def test_5_1_2_more_streams_than_told_are_an_error(client: RawClient) -> None:
    open_streams(client, MAX_STREAMS + 1)
    stream_error(client, 2 * MAX_STREAMS + 1, PROTOCOL_ERROR, REFUSED_STREAM)


# 5.2. Flow Control


def test_5_2_no_more_data_comes_than_the_stream_window_allows(connect: Connect) -> None:
    client = connect(setting(4, 100))
    client.send(request(LARGE_GET))
    client.wait(lambda f: f.type == DATA)
    assert client.is_alive()
    assert sum(len(f.payload) for f in client.frames if f.type == DATA) == 100


def test_5_2_no_more_data_comes_than_the_connection_window_allows(connect: Connect) -> None:
    client = connect(setting(4, 1_000_000))
    client.send(request(LARGE_GET))
    received = 0
    while received < INITIAL_WINDOW:
        received += len(client.wait(lambda f: f.type == DATA).payload)
    assert client.is_alive()
    assert sum(len(f.payload) for f in client.frames if f.type == DATA) == INITIAL_WINDOW


# 5.3. Priority


def test_5_3_2_priority_signals_are_ignored(client: RawClient) -> None:
    fields = number(1 << 31 | 11) + b"\xff"
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, fields + BLOCK))
    assert client.headers(1)[b":status"] == b"200"


@pytest.mark.parametrize(
    "own",
    [
        frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, number(1) + b"\xff" + BLOCK),
        frame(PRIORITY, 0, 1, number(1) + b"\xff"),
    ],
    ids=["HEADERS", "PRIORITY"],
)
def test_5_3_1_a_stream_that_depends_on_itself_is_an_error(client: RawClient, own: bytes) -> None:
    client.send(own)
    stream_error(client, 1, PROTOCOL_ERROR)


# 5.4. Error Handling


def test_5_4_1_goaway_comes_before_the_end_and_names_the_last_stream(client: RawClient) -> None:
    served(client, 3)
    client.send(frame(PING, 0, 3, bytes(8)))
    connection_error(client, PROTOCOL_ERROR)
    (goaway,) = [f for f in client.frames if f.type == GOAWAY]
    assert int.from_bytes(goaway.payload[:4], "big") == 3


def test_5_4_2_a_stream_error_leaves_the_others(client: RawClient) -> None:
    client.send(request(with_fields((b"connection", b"close"))))
    stream_error(client, 1, PROTOCOL_ERROR)
    served(client, 3)


# 5.5. Extending HTTP/2


def test_5_5_unknown_settings_are_ignored(client: RawClient) -> None:
    client.send(frame(SETTINGS, 0, 0, setting(0xFF, 1)))
    client.wait(lambda f: f.type == SETTINGS and bool(f.flags & ACK))
    served(client, 1)


# 6.1. DATA


def test_6_1_data_on_stream_0_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(DATA, END_STREAM, 0, b"x"))
    connection_error(client, PROTOCOL_ERROR)


def test_6_1_padding_is_left_out(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, END_STREAM | PADDED, 1, b"\x05hello" + bytes(5)))
    assert client.response(1)[1] == b"hello"


def test_6_1_padding_as_long_as_the_frame_is_a_connection_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, END_STREAM | PADDED, 1, b"\x06hello"))
    connection_error(client, PROTOCOL_ERROR)


def test_6_1_padding_without_its_length_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, END_STREAM | PADDED, 1, b""))
    connection_error(client, FRAME_SIZE_ERROR, PROTOCOL_ERROR)


def test_6_1_padding_counts_for_the_window(client: RawClient) -> None:
    client.send(request(ECHO, end=False))
    for _ in range(300):  # 76 kB, of which 300 bytes are data
        client.send(frame(DATA, PADDED, 1, b"\xfd" + b"x" + bytes(253)))
        update = [f for f in client.frames if f.type == WINDOW_UPDATE and f.stream == 1]
        if not update and not client.is_alive():
            break
    client.send(frame(DATA, END_STREAM, 1, b""))
    assert client.response(1)[1] == b"x" * 300


# 6.2. HEADERS


def test_6_2_headers_on_stream_0_are_a_connection_error(client: RawClient) -> None:
    client.send(request(stream=0))
    connection_error(client, PROTOCOL_ERROR)


def test_6_2_padding_is_left_out(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x04" + BLOCK + bytes(4)))
    assert client.headers(1)[b":status"] == b"200"


def test_6_2_padding_longer_than_the_block_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + BLOCK))
    connection_error(client, PROTOCOL_ERROR)


def test_6_2_a_head_without_end_headers_waits_for_its_continuation(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK[:20]), frame(CONTINUATION, END_HEADERS, 1, BLOCK[20:]))
    assert client.headers(1)[b":status"] == b"200"


def test_6_2_priority_fields_cut_short_are_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, b"\0\0"))
    connection_error(client, FRAME_SIZE_ERROR, PROTOCOL_ERROR)


# 6.3. PRIORITY


def test_6_3_priority_on_stream_0_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(PRIORITY, 0, 0, number(0) + b"\x10"))
    connection_error(client, PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [0, 4, 6])
def test_6_3_priority_of_another_size_is_an_error(client: RawClient, size: int) -> None:
    client.send(request(ECHO, end=False), frame(PRIORITY, 0, 1, bytes(size)))
    stream_error(client, 1, FRAME_SIZE_ERROR)


# 6.4. RST_STREAM


def test_6_4_rst_stream_on_stream_0_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(RST_STREAM, 0, 0, number(CANCEL)))
    connection_error(client, PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_6_4_rst_stream_of_another_size_is_a_connection_error(client: RawClient, size: int) -> None:
    client.send(request(ECHO, end=False), frame(RST_STREAM, 0, 1, bytes(size)))
    connection_error(client, FRAME_SIZE_ERROR)


def test_6_4_an_unknown_error_code_is_as_good_as_any(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(RST_STREAM, 0, 1, number(0xFFFF_FFFF)))
    served(client, 3)


# 6.5. SETTINGS


def test_6_5_an_acknowledgement_with_a_payload_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(SETTINGS, ACK, 0, setting(1, 4_096)))
    connection_error(client, FRAME_SIZE_ERROR)


def test_6_5_settings_on_a_stream_are_a_connection_error(client: RawClient) -> None:
    client.send(frame(SETTINGS, 0, 1, setting(1, 4_096)))
    connection_error(client, PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [1, 5, 7])
def test_6_5_settings_of_another_size_are_a_connection_error(client: RawClient, size: int) -> None:
    client.send(frame(SETTINGS, 0, 0, bytes(size)))
    connection_error(client, FRAME_SIZE_ERROR)


def test_6_5_2_enable_push_other_than_0_and_1_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(SETTINGS, 0, 0, setting(2, 2)))
    connection_error(client, PROTOCOL_ERROR)


def test_6_5_2_an_initial_window_above_2_31_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(SETTINGS, 0, 0, setting(4, 1 << 31)))
    connection_error(client, FLOW_CONTROL_ERROR)


@pytest.mark.parametrize("size", [16_383, 1 << 24])
def test_6_5_2_a_frame_size_out_of_range_is_a_connection_error(client: RawClient, size: int) -> None:
    client.send(frame(SETTINGS, 0, 0, setting(5, size)))
    connection_error(client, PROTOCOL_ERROR)


def test_6_5_2_a_larger_frame_size_is_allowed_and_need_not_be_used(connect: Connect) -> None:
    client = connect(setting(5, (1 << 24) - 1))
    client.send(
        request(LARGE_GET), frame(WINDOW_UPDATE, 0, 0, number(LARGE)), frame(WINDOW_UPDATE, 0, 1, number(LARGE))
    )
    assert len(client.response(1)[1]) == LARGE


def test_6_5_2_a_server_does_not_enable_push(client: RawClient) -> None:
    (told,) = [f for f in client.frames if f.type == SETTINGS and not f.flags & ACK]
    entries = [told.payload[n : n + 6] for n in range(0, len(told.payload), 6)]
    assert not any(entry[:2] == b"\0\x02" and entry[2:] != number(0) for entry in entries)


def test_6_5_3_the_last_of_several_values_counts(connect: Connect) -> None:
    client = connect(setting(4, 5) + setting(4, 1) + setting(4, 100))
    client.send(request(LARGE_GET))
    assert len(client.wait(lambda f: f.type == DATA).payload) == 100


def test_6_5_3_each_settings_frame_is_acknowledged(client: RawClient) -> None:
    before = sum(f.type == SETTINGS and bool(f.flags & ACK) for f in client.frames)
    client.send(frame(SETTINGS, 0, 0, setting(1, 100)) * 5)
    assert client.is_alive()
    after = sum(f.type == SETTINGS and bool(f.flags & ACK) for f in client.frames)
    assert after - before == 5


# 6.6. PUSH_PROMISE


def test_6_6_push_promise_of_a_client_is_a_connection_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(PUSH_PROMISE, END_HEADERS, 1, number(3) + BLOCK))
    connection_error(client, PROTOCOL_ERROR)


# 6.7. PING


def test_6_7_ping_is_answered_with_its_payload(client: RawClient) -> None:
    client.send(frame(PING, 0, 0, b"12345678"))
    found = client.wait(lambda f: f.type == PING)
    assert (found.flags, found.payload) == (ACK, b"12345678")


def test_6_7_an_acknowledgement_is_not_answered(client: RawClient) -> None:
    client.send(frame(PING, ACK, 0, b"invalid!"), frame(PING, 0, 0, b"valid!!!"))
    assert client.wait(lambda f: f.type == PING).payload == b"valid!!!"


def test_6_7_ping_on_a_stream_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(PING, 0, 1, bytes(8)))
    connection_error(client, PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [0, 6, 9])
def test_6_7_ping_of_another_size_is_a_connection_error(client: RawClient, size: int) -> None:
    client.send(frame(PING, 0, 0, bytes(size)))
    connection_error(client, FRAME_SIZE_ERROR)


# 6.8. GOAWAY


def test_6_8_goaway_on_a_stream_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(GOAWAY, 0, 1, number(0) + number(NO_ERROR)))
    connection_error(client, PROTOCOL_ERROR)


def test_6_8_streams_under_way_end_before_the_connection_does(connect: Connect) -> None:
    client = connect(setting(4, 0))
    client.send(request(replaced(b":path", b"/large")), frame(GOAWAY, 0, 0, number(0) + number(NO_ERROR)))
    client.send(frame(WINDOW_UPDATE, 0, 1, number(LARGE)), frame(WINDOW_UPDATE, 0, 0, number(LARGE)))
    assert len(client.response(1)[1]) == LARGE
    assert client.last_words() in (None, NO_ERROR)


def test_6_8_an_error_code_that_is_unknown_closes_as_well(client: RawClient) -> None:
    client.send(frame(GOAWAY, 0, 0, number(0) + number(0xFFFF) + b"debug data"))
    while client.read() is not None:
        """Whatever it says."""
    assert client.closed


# 6.9. WINDOW_UPDATE


def test_6_9_an_increment_of_0_on_the_connection_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(WINDOW_UPDATE, 0, 0, number(0)))
    connection_error(client, PROTOCOL_ERROR)


def test_6_9_an_increment_of_0_on_a_stream_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(WINDOW_UPDATE, 0, 1, number(0)))
    stream_error(client, 1, PROTOCOL_ERROR)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_6_9_window_update_of_another_size_is_a_connection_error(client: RawClient, size: int) -> None:
    client.send(frame(WINDOW_UPDATE, 0, 0, bytes(size)))
    connection_error(client, FRAME_SIZE_ERROR)


def test_6_9_1_a_connection_window_above_2_31_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(WINDOW_UPDATE, 0, 0, number(2**31 - 1)) * 2)
    connection_error(client, FLOW_CONTROL_ERROR)


def test_6_9_1_a_stream_window_above_2_31_is_an_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(WINDOW_UPDATE, 0, 1, number(2**31 - 1)) * 2)
    assert client.reset_code(1) == FLOW_CONTROL_ERROR
    served(client, 3)


def test_6_9_1_data_beyond_the_window_is_a_flow_control_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), *(frame(DATA, 0, 1, bytes(16_384)) for _ in range(5)))
    found = client.wait(lambda f: f.type in (GOAWAY, RST_STREAM, WINDOW_UPDATE))
    assert found.type == WINDOW_UPDATE or found.code() == FLOW_CONTROL_ERROR


def test_6_9_2_a_smaller_initial_window_makes_windows_negative(connect: Connect) -> None:
    client = connect(setting(4, 3))
    client.send(request(LARGE_GET))
    client.wait(lambda f: f.type == DATA)
    client.send(frame(SETTINGS, 0, 0, setting(4, 2)), frame(WINDOW_UPDATE, 0, 1, number(2)))
    assert len(client.wait(lambda f: f.type == DATA).payload) == 1


def test_6_9_2_a_larger_initial_window_opens_streams(connect: Connect) -> None:
    client = connect(setting(4, 0))
    client.send(request(LARGE_GET))
    client.headers(1)
    client.send(frame(SETTINGS, 0, 0, setting(4, 1)))
    assert len(client.wait(lambda f: f.type == DATA).payload) == 1


def test_6_9_2_an_initial_window_that_overflows_a_stream_is_a_connection_error(connect: Connect) -> None:
    client = connect(setting(4, 1))
    client.send(request(ECHO, end=False), frame(WINDOW_UPDATE, 0, 1, number(2**31 - 2)))
    client.send(frame(SETTINGS, 0, 0, setting(4, 2**31 - 1)))
    connection_error(client, FLOW_CONTROL_ERROR)


# 6.10. CONTINUATION


def test_6_10_several_continuations_make_one_block(client: RawClient) -> None:
    pieces = [BLOCK[n : n + 10] for n in range(0, len(BLOCK), 10)][:8]
    rest = BLOCK[len(b"".join(pieces)) :]
    client.send(
        frame(HEADERS, END_STREAM, 1, pieces[0]),
        *(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]),
        frame(CONTINUATION, END_HEADERS, 1, rest),
    )
    assert client.headers(1)[b":status"] == b"200"


@pytest.mark.parametrize(
    "between",
    [frame(PING, 0, 0, bytes(8)), frame(DATA, 0, 1, b"x"), frame(SETTINGS), frame(WINDOW_UPDATE, 0, 0, number(1))],
    ids=["PING", "DATA", "SETTINGS", "WINDOW_UPDATE"],
)
def test_6_10_anything_else_in_a_block_is_a_connection_error(client: RawClient, between: bytes) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK[:10]), between, frame(CONTINUATION, END_HEADERS, 1, BLOCK[10:]))
    connection_error(client, PROTOCOL_ERROR)


def test_6_10_continuation_on_stream_0_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK), frame(CONTINUATION, END_HEADERS, 0, b""))
    connection_error(client, PROTOCOL_ERROR)


def test_6_10_continuation_of_another_stream_is_a_connection_error(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK), frame(CONTINUATION, END_HEADERS, 3, b""))
    connection_error(client, PROTOCOL_ERROR)


def test_6_10_continuation_after_the_end_of_a_block_is_a_connection_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(CONTINUATION, END_HEADERS, 1, b""))
    connection_error(client, PROTOCOL_ERROR)


def test_6_10_continuation_after_data_is_a_connection_error(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b""))
    connection_error(client, PROTOCOL_ERROR)


def test_6_10_continuations_without_end_are_refused(client: RawClient) -> None:
    client.send(frame(HEADERS, END_STREAM, 1, BLOCK), *(frame(CONTINUATION, 0, 1, b"") for _ in range(1_000)))
    connection_error(client, ENHANCE_YOUR_CALM)


# 7. Error Codes


def test_7_an_unknown_code_in_goaway_triggers_nothing_special(client: RawClient) -> None:
    client.send(request(), frame(GOAWAY, 0, 0, number(0) + number(0xFF)))
    assert client.headers(1)[b":status"] == b"200"


# 8.1. HTTP Message Framing


def test_8_1_a_second_head_that_does_not_end_the_stream_is_malformed(client: RawClient) -> None:
    client.send(request(ECHO, end=False), request([(b"x", b"y")], end=False))
    stream_error(client, 1, PROTOCOL_ERROR)


def test_8_1_trailers_end_a_request(client: RawClient) -> None:
    client.send(request(ECHO, end=False), frame(DATA, 0, 1, b"body"), request([(b"x-sum", b"4")]))
    assert client.response(1)[1] == b"body"


def test_8_1_an_answer_may_come_before_the_request_is_whole(client: RawClient) -> None:
    client.send(request(with_fields((b"expect", b"teapot"), base=ECHO), end=False))
    assert client.headers(1)[b":status"] == b"417"
    assert client.reset_code(1) == NO_ERROR


@pytest.mark.parametrize("body", [b"", b"123", b"12345"], ids=["none", "short", "long"])
def test_8_1_1_a_body_that_is_not_as_long_as_told_is_malformed(client: RawClient, body: bytes) -> None:
    client.send(request(with_fields((b"content-length", b"4"), base=ECHO), end=not body))
    if body:
        client.send(frame(DATA, END_STREAM, 1, body))
    stream_error(client, 1, PROTOCOL_ERROR)


def test_8_1_1_the_length_counts_all_data_frames(client: RawClient) -> None:
    client.send(request(with_fields((b"content-length", b"4"), base=ECHO), end=False))
    client.send(frame(DATA, 0, 1, b"12"), frame(DATA, END_STREAM, 1, b"345"))
    stream_error(client, 1, PROTOCOL_ERROR)


def test_8_1_1_a_body_as_long_as_told_is_taken(client: RawClient) -> None:
    client.send(request(with_fields((b"content-length", b"4"), base=ECHO), end=False))
    client.send(frame(DATA, 0, 1, b"12"), frame(DATA, END_STREAM, 1, b"34"))
    assert client.response(1)[1] == b"1234"


# 8.2. HTTP Fields

MALFORMED_FIELDS = {
    "8.2 an upper case name": (b"X-Test", b"y"),
    "8.2.1 a name with a space": (b"x test", b"y"),
    "8.2.1 a name with a control character": (b"x\x01", b"y"),
    "8.2.1 a name with a high byte": (b"x\x80", b"y"),
    "8.2.1 a name with a colon": (b"x:y", b"z"),
    "8.2.1 an empty name": (b"", b"z"),
    "8.2.1 a value with NUL": (b"x", b"a\0b"),
    "8.2.1 a value with a line feed": (b"x", b"a\nb"),
    "8.2.1 a value with a carriage return": (b"x", b"a\rb"),
    "8.2.1 a value that begins with a space": (b"x", b" a"),
    "8.2.1 a value that ends with a tab": (b"x", b"a\t"),
    "8.2.2 connection": (b"connection", b"keep-alive"),
    "8.2.2 proxy-connection": (b"proxy-connection", b"keep-alive"),
    "8.2.2 keep-alive": (b"keep-alive", b"timeout=5"),
    "8.2.2 transfer-encoding": (b"transfer-encoding", b"chunked"),
    "8.2.2 upgrade": (b"upgrade", b"h2c"),
    "8.2.2 te other than trailers": (b"te", b"trailers, deflate"),
    "8.3.1 an unknown pseudo field": (b":test", b"x"),
    "8.3.1 a status in a request": (b":status", b"200"),
    "8.3 a pseudo field behind regular ones": (b":path", b"/"),
    "8.3.1 a host that differs": (b"host", b"other"),
}


@pytest.mark.parametrize("field", MALFORMED_FIELDS.values(), ids=MALFORMED_FIELDS)
def test_8_2_a_request_is_malformed_by(client: RawClient, field: tuple[bytes, bytes]) -> None:
    base = GET if field[0] != b":path" else (*replaced(b":path", None), (b"x", b"y"))
    client.send(request(with_fields(field, base=base)))
    stream_error(client, 1, PROTOCOL_ERROR)
    served(client, 3)


def test_8_2_2_te_trailers_is_taken(client: RawClient) -> None:
    client.send(request(with_fields((b"te", b"trailers"))))
    assert client.headers(1)[b":status"] == b"200"


def test_8_2_3_cookie_crumbs_are_taken(client: RawClient) -> None:
    client.send(request(with_fields((b"cookie", b"a=b"), (b"cookie", b"c=d"))))
    assert client.headers(1)[b":status"] == b"200"


# 8.3. HTTP Control Data

MALFORMED_HEADS = {
    "8.3 a pseudo field in the middle": (*GET[:3], (b"x", b"y"), GET[3]),
    "8.3.1 no method": replaced(b":method", None),
    "8.3.1 no scheme": replaced(b":scheme", None),
    "8.3.1 no path": replaced(b":path", None),
    "8.3.1 an empty path": replaced(b":path", b""),
    "8.3.1 a path that does not begin with a slash": replaced(b":path", b"x"),
    "8.3.1 two methods": ((b":method", b"GET"), *GET),
    "8.3.1 two schemes": ((b":scheme", b"http"), *GET),
    "8.3.1 two paths": ((b":path", b"/"), *GET),
    "8.3.1 two authorities": ((b":authority", b"svc"), *GET),
    "8.3.1 an authority with user information": replaced(b":authority", b"user@svc"),
    "8.3.1 no authority at all": replaced(b":authority", None),
    "8.5 CONNECT with a path": replaced(b":method", b"CONNECT"),
    "8.5 CONNECT to a service": ((b":method", b"CONNECT"), (b":authority", b"svc:80")),
}


@pytest.mark.parametrize("head", MALFORMED_HEADS.values(), ids=MALFORMED_HEADS)
def test_8_3_a_request_is_malformed_by(client: RawClient, head: tuple[tuple[bytes, bytes], ...]) -> None:
    client.send(request(head))
    stream_error(client, 1, PROTOCOL_ERROR)
    served(client, 3)


def test_8_3_pseudo_fields_in_trailers_are_malformed(client: RawClient) -> None:
    client.send(request(ECHO, end=False), request([(b":method", b"POST")]))
    stream_error(client, 1, PROTOCOL_ERROR)


def test_8_3_1_an_asterisk_for_options_is_taken(client: RawClient) -> None:
    client.send(request(replaced(b":method", b"OPTIONS", replaced(b":path", b"*"))))
    assert client.headers(1)[b":status"] == b"200"


def test_8_3_1_a_host_takes_the_place_of_the_authority(client: RawClient) -> None:
    client.send(request(with_fields((b"host", b"svc"), base=replaced(b":authority", None))))
    assert client.headers(1)[b":status"] == b"200"


def test_8_3_2_an_answer_has_one_status_in_front(client: RawClient) -> None:
    client.send(request())
    found = client.wait(lambda f: f.type == HEADERS)
    fields = [name for name, _ in client.decoder.decode(found.payload, raw=True)]
    assert fields[0] == b":status"
    assert not any(name.startswith(b":") for name in fields[1:])


def test_8_6_there_is_no_101(client: RawClient) -> None:
    client.send(request(with_fields((b"upgrade", b"websocket"))))
    stream_error(client, 1, PROTOCOL_ERROR)


# 8.7. Request Reliability, 9.1. Connection Management


def test_8_7_ping_does_not_count_as_a_request(client: RawClient) -> None:
    for _ in range(3):
        assert client.is_alive()
    served(client, 1)


def test_9_1_1_a_connection_serves_many_requests(client: RawClient) -> None:
    for stream in range(1, 601, 2):
        served(client, stream)
        if not client.frames[-1].ends_stream():
            client.wait(lambda f: f.ends_stream())


# 10.5. Denial-of-Service Considerations

FLOODS = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "SETTINGS": frame(SETTINGS, 0, 0, setting(4, INITIAL_WINDOW)),
    "empty SETTINGS": frame(SETTINGS),
    "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, 0, number(1)),
    "PRIORITY": frame(PRIORITY, 0, 1, number(0) + b"\x01"),
    "empty DATA": frame(DATA, 0, 1, b""),
    "padding": frame(DATA, PADDED, 1, b"\x03" + bytes(3)),
    "unknown frames": frame(0x16, 0, 0, b""),
    "empty CONTINUATION": frame(HEADERS, 0, 3, BLOCK) + frame(CONTINUATION, 0, 3, b"") * 1_000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_10_5_a_flood_ends_the_connection_and_nobody_elses(connect: Connect, flood: bytes) -> None:
    attacker, victim = connect(), connect()
    attacker.socket.settimeout(30)
    attacker.send(request(ECHO, end=False), flood * (400_000 // len(flood)))
    assert victim.is_alive()
    assert attacker.last_words() in (ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, None)
    served(victim, 1)


def test_10_5_rapid_reset_ends_the_connection_and_nobody_elses(connect: Connect) -> None:
    attacker, victim = connect(), connect()
    for stream in range(1, 20_001, 2):
        attacker.send(request(stream=stream), frame(RST_STREAM, 0, stream, number(CANCEL)))
    served(victim, 1)
    assert attacker.last_words() in (ENHANCE_YOUR_CALM, None)
    served(victim, 3)


def test_10_5_1_a_large_field_section_is_answered_with_431(client: RawClient) -> None:
    head = plain_block(with_fields(*[(b"x%d" % n, b"a" * 16_000) for n in range(5)]))
    pieces = [head[n : n + 16_384] for n in range(0, len(head), 16_384)]
    client.send(
        frame(HEADERS, END_STREAM, 1, pieces[0]),
        *(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:-1]),
        frame(CONTINUATION, END_HEADERS, 1, pieces[-1]),
    )
    assert client.headers(1)[b":status"] == b"431"
    served(client, 3)


def test_every_frame_sent_was_well_formed(client: RawClient) -> None:
    """Last: what the sidecar itself sends in a plain exchange, frame by frame."""
    served(client, 1)
    kinds = {DATA: False, HEADERS: False, SETTINGS: True, PING: True, WINDOW_UPDATE: None, GOAWAY: True}

    def fits(found: Frame) -> bool:
        on_connection = kinds.get(found.type)
        return found.type in kinds and (on_connection is None or on_connection == (found.stream == 0))

    assert [found for found in client.frames if not fits(found)] == []
