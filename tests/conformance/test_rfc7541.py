"""RFC 7541 (HPACK) by raw blocks, at the sidecar's listener: one test for each rule, named after its section."""

from __future__ import annotations

import pytest
from hpack import Encoder

from tests.conformance.conftest import Connect
from tests.support.wire.http2 import (
    COMPRESSION_ERROR,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    SETTINGS,
    RawClient,
    frame,
    plain_block,
    replaced,
    setting,
    text,
)

BLOCK = plain_block(GET)
PATH = replaced(b":path", None)


def send(client: RawClient, block: bytes, stream: int = 1) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))


def answered(client: RawClient, block: bytes, stream: int = 1) -> None:
    """The request in this block must be served."""
    send(client, block, stream)
    assert client.headers(stream)[b":status"] == b"200"


def refused(client: RawClient, block: bytes, stream: int = 1) -> None:
    """The block must end the connection with COMPRESSION_ERROR."""
    send(client, block, stream)
    assert client.last_words() == COMPRESSION_ERROR


def test_2_3_1_the_static_table(client: RawClient) -> None:
    answered(client, bytes((0x82, 0x86, 0x84)) + b"\x01" + text(b"svc"))


def test_2_3_2_the_dynamic_table_begins_empty(client: RawClient) -> None:
    refused(client, BLOCK + b"\xbe")


def test_2_3_2_entries_are_added_in_front(client: RawClient) -> None:
    answered(client, BLOCK + b"\x40\x01a\x01b" + b"\x40\x01c\x01d")
    answered(client, BLOCK + b"\xbe\xbf", 3)


def test_2_3_3_an_index_beyond_both_tables_is_an_error(client: RawClient) -> None:
    answered(client, BLOCK + b"\x40\x01a\x01b")
    refused(client, BLOCK + b"\xbf", 3)


@pytest.mark.parametrize("block", [b"\x40", b"\x40\x05ab", b"\x40\x01a", b"\x40\x01a\x05b", b"\x7f", b"\x01"])
def test_3_1_a_block_cut_short_is_an_error(client: RawClient, block: bytes) -> None:
    refused(client, BLOCK + block)


def test_4_1_an_entry_as_large_as_the_table_is_kept(client: RawClient) -> None:
    answered(client, BLOCK + b"\x40" + text(b"a") + text(b"b" * (4_096 - 32 - 1)))
    answered(client, BLOCK + b"\xbe", 3)


def test_4_1_an_entry_larger_than_the_table_empties_it(client: RawClient) -> None:
    answered(client, BLOCK + b"\x40\x01a\x01b")
    answered(client, BLOCK + b"\x40" + text(b"a") + text(b"b" * 4_096), 3)
    refused(client, BLOCK + b"\xbe", 5)


def test_4_2_a_table_size_within_the_limit_is_taken(client: RawClient) -> None:
    for size in (b"\x20", b"\x3f\xe1\x1f"):  # 0 and 4096
        answered(client, size + BLOCK, 1 if size == b"\x20" else 3)


def test_4_2_a_table_size_above_the_limit_is_an_error(client: RawClient) -> None:
    refused(client, b"\x3f\xe2\x1f" + BLOCK)  # 4097


def test_4_2_a_table_size_behind_fields_is_an_error(client: RawClient) -> None:
    refused(client, BLOCK + b"\x20")


def test_4_2_two_table_sizes_in_front_are_taken(client: RawClient) -> None:
    answered(client, b"\x20\x3f\xe1\x1f" + BLOCK)


def test_4_2_a_smaller_table_of_the_client_is_kept(connect: Connect) -> None:
    client = connect(setting(1, 0))
    for stream in (1, 3):
        send(client, BLOCK, stream)
        block = client.wait(lambda f: f.type == HEADERS).payload
        if stream == 1:
            assert block[0] == 0x20, "the encoder says that the table is gone"
        assert not any(byte >= 0xBE for byte in block[:1]), "nothing of it is referred to"


def test_4_2_a_table_made_smaller_on_the_way_is_kept(client: RawClient) -> None:
    answered(client, BLOCK)
    client.send(frame(SETTINGS, 0, 0, setting(1, 0)))
    send(client, BLOCK, 3)
    assert client.wait(lambda f: f.type == HEADERS and f.stream == 3).payload[0] == 0x20


def test_4_4_entries_are_evicted_from_the_end(client: RawClient) -> None:
    large = text(b"b" * 2_000)
    answered(client, BLOCK + b"\x40\x01a" + large + b"\x40\x01c" + large + b"\x40\x01d" + large)
    answered(client, BLOCK + b"\xbe", 3)
    refused(client, BLOCK + b"\xc0", 5)


def test_5_1_an_integer_that_overflows_is_an_error(client: RawClient) -> None:
    refused(client, BLOCK + b"\xff" + b"\x80" * 20 + b"\x01")


def test_5_1_a_large_integer_within_reason_is_only_out_of_range(client: RawClient) -> None:
    refused(client, BLOCK + b"\xff\xff\xff\xff\x07")


def test_5_2_huffman_is_read(client: RawClient) -> None:
    block = Encoder().encode([*PATH, (b":path", b"/"), (b"x-long-name", b"a value of some length")], huffman=True)
    answered(client, block)


def test_5_2_huffman_padding_longer_than_7_bits_is_an_error(client: RawClient) -> None:
    refused(client, plain_block(PATH) + b"\x00" + text(b":path") + b"\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")


@pytest.mark.parametrize("byte", [0x00, 0x18 << 3 & 0xFF], ids=["zeros", "other bits"])
def test_5_2_huffman_padding_that_is_not_of_ones_is_an_error(client: RawClient, byte: int) -> None:
    value = bytes((byte & 0b11111000,))  # a code of 5 bits, padded with zeros
    refused(client, BLOCK + b"\x00\x01a" + b"\x81" + value)


def test_5_2_the_end_of_string_symbol_is_an_error(client: RawClient) -> None:
    refused(client, BLOCK + b"\x00\x01a" + b"\x84\xff\xff\xff\xff")


def test_6_1_index_0_is_an_error(client: RawClient) -> None:
    refused(client, BLOCK + b"\x80")


def test_6_2_1_a_literal_with_indexing(client: RawClient) -> None:
    answered(client, plain_block(PATH) + b"\x44\x01/")
    answered(client, plain_block(PATH) + b"\xbe", 3)


def test_6_2_2_a_literal_without_indexing(client: RawClient) -> None:
    answered(client, plain_block(PATH) + b"\x04\x01/")
    refused(client, plain_block(PATH) + b"\xbe", 3)


def test_6_2_3_a_literal_never_indexed(client: RawClient) -> None:
    answered(client, plain_block(PATH) + b"\x14\x01/")
    refused(client, plain_block(PATH) + b"\xbe", 3)


@pytest.mark.parametrize("literal", [0x00, 0x10, 0x40], ids=["without", "never", "with"])
def test_6_2_a_name_by_index_or_by_itself(client: RawClient, literal: int) -> None:
    answered(client, plain_block(PATH) + bytes((literal | 4,)) + b"\x01/", 1)
    answered(client, plain_block(PATH) + bytes((literal,)) + b"\x05:path\x01/", 3)


def test_6_2_a_name_by_an_index_out_of_range_is_an_error(client: RawClient) -> None:
    refused(client, BLOCK + b"\x7e\x01b")


def test_6_3_a_table_size_of_0_evicts_all(client: RawClient) -> None:
    answered(client, BLOCK + b"\x40\x01a\x01b")
    answered(client, b"\x20" + BLOCK, 3)
    refused(client, BLOCK + b"\xbe", 5)


def test_7_3_the_table_of_one_connection_is_not_that_of_another(connect: Connect) -> None:
    one, other = connect(), connect()
    answered(one, BLOCK + b"\x40\x01a\x01b")
    refused(other, BLOCK + b"\xbe")
    answered(one, BLOCK + b"\xbe", 3)
