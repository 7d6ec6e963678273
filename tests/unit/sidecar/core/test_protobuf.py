"""The wire format of Protocol Buffers, against the library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint

from sidecar.core.protobuf import (
    content,
    double,
    fixed64,
    integer,
    numbers_and_messages,
    packed_double,
    packed_fixed64,
    text,
)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_the_library_reads_any_number(value: int) -> None:
    assert AnyValue.FromString(integer(3, value)).int_value == value
    numbers, _ = numbers_and_messages(AnyValue(int_value=value).SerializeToString())
    assert numbers == {3: value & (1 << 64) - 1}


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_the_library_reads_any_text(value: str) -> None:
    assert KeyValue.FromString(text(1, value)).key == value


def test_what_utf8_cannot_carry_becomes_a_question_mark() -> None:
    assert KeyValue.FromString(text(1, "a\udc80b")).key == "a?b"


@given(
    st.integers(0, (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.lists(st.integers(0, (1 << 64) - 1), max_size=20),
    st.lists(st.floats(allow_nan=False), max_size=20),
)
def test_the_library_reads_fixed_numbers(count: int, total: float, counts: list[int], bounds: list[float]) -> None:
    data = fixed64(4, count) + double(5, total) + packed_fixed64(6, counts) + packed_double(7, bounds)
    point = HistogramDataPoint.FromString(data)
    assert (point.count, point.sum, list(point.bucket_counts), list(point.explicit_bounds)) == (
        count,
        total,
        counts,
        bounds,
    )


def test_fields_that_are_not_asked_for_are_skipped() -> None:
    data = fixed64(2, 7) + content(9, b"x") + b"\x25abcd" + integer(1, 300)
    assert numbers_and_messages(data) == ({1: 300}, {9: b"x"})


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05abc", b"\x09abc", b"\x0b", b"\x08" + b"\xff" * 10 + b"\x01"])
def test_what_is_not_a_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"a number|the message|field 1"):
        numbers_and_messages(data)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    try:
        numbers, messages = numbers_and_messages(data)
    except ValueError:
        return
    assert all(isinstance(value, int) for value in numbers.values())
    assert all(value in data for value in messages.values())
