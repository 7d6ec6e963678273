"""Protocol Buffers' wire format, as much of it as OTLP takes: fields of a message in, bytes out, and the way back.

https://protobuf.dev/programming-guides/encoding/

Rules:
- A message is the concatenation of its fields. A field is a tag (number and wire type) and its content.
- A field of value zero may be left out or be there: readers take both for the same.
- Reading is of what others sent: whatever is not a message is a ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

_MAX_VARINT: Final = (1 << 64) - 1
_TAKES: Final = {FIXED64: 8, FIXED32: 4}
_FIXED64: Final = struct.Struct("<Q")
_DOUBLE: Final = struct.Struct("<d")


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first. A negative number is its two's complement in 64 bits."""
    value &= _MAX_VARINT
    if value < 0x80:
        return value.to_bytes(1, "little")
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def tag(number: int, kind: int) -> bytes:
    """Return what stands before a field's content."""
    return varint(number << 3 | kind)


def integer(number: int, value: int) -> bytes:
    """Return a field of an int32, int64, enum or bool."""
    return tag(number, VARINT) + varint(value)


def fixed64(number: int, value: int) -> bytes:
    """Return a field of a fixed64."""
    return tag(number, FIXED64) + _FIXED64.pack(value)


def double(number: int, value: float) -> bytes:
    """Return a field of a double."""
    return tag(number, FIXED64) + _DOUBLE.pack(value)


def content(number: int, value: bytes) -> bytes:
    """Return a field of bytes, or of a message."""
    return tag(number, BYTES) + varint(len(value)) + value


def text(number: int, value: str) -> bytes:
    """Return a field of a string. What UTF-8 cannot carry becomes a question mark."""
    return content(number, value.encode("utf-8", "replace"))


def packed_fixed64(number: int, values: Sequence[int]) -> bytes:
    """Return a repeated field of fixed64."""
    return content(number, struct.pack(f"<{len(values)}Q", *values))


def packed_double(number: int, values: Sequence[float]) -> bytes:
    """Return a repeated field of doubles."""
    return content(number, struct.pack(f"<{len(values)}d", *values))


def numbers_and_messages(data: bytes) -> tuple[dict[int, int], dict[int, bytes]]:
    """Return the last value of each varint field and of each field of bytes. Raises ValueError."""
    numbers: dict[int, int] = {}
    messages: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            numbers[number], at = _read_varint(data, at)
            continue
        if kind == BYTES:
            size, at = _read_varint(data, at)
        elif kind in _TAKES:
            size = _TAKES[kind]
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if size > len(data) - at:
            raise ValueError(f"field {number} ends beyond the message")
        if kind == BYTES:
            messages[number] = data[at : at + size]
        at += size
    return numbers, messages


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint and where it ends."""
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("the message ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MAX_VARINT, at
        shift += 7
    raise ValueError("a number is longer than ten bytes")
