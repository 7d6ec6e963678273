"""Which requests are traced, and the header that says so."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.messages import Fields
from sidecar.core.trace import HEADER, Sampler, Span, begin, is_trace_id, new_trace_id, parse, trace_id

ROOT = "1-67891233-abcdef012345678912345678"
SEEDED = random.Random(7)  # noqa: S311 - a seed makes tests repeatable
WALL = 1_700_000_000.25


def started(header: bytes | None, rate: float = 0.0, reservoir: bool = False) -> tuple[Span | None, dict[str, str]]:
    """The span, and the keys of the header that goes on. Without a reservoir only the rate counts."""
    sampler = Sampler(rate)
    bits = SEEDED.getrandbits
    if not reservoir:
        sampler.sample(5.0, bits)
    fields: Fields = [(b"a", b"b")] + ([(HEADER, header)] if header is not None else []) + [(b"c", b"d")]
    span = begin(fields, sampler, "orders", False, 5.5, WALL, bits)
    (value,) = [value for name, value in fields if name == HEADER]
    assert [name for name, _ in fields if name != HEADER] == [b"a", b"c"]
    return span, parse(value)


def test_a_sampled_trace_is_continued() -> None:
    span, header = started(f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1".encode())
    assert span is not None
    assert (span.trace_id, span.parent_id, span.start) == (ROOT, "53995c3f42cd8ad8", WALL)
    assert header == {"Root": ROOT, "Parent": span.id, "Sampled": "1"}
    assert len(span.id) == 16


def test_a_decision_against_it_is_kept() -> None:
    span, header = started(f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0".encode(), rate=1.0, reservoir=True)
    assert span is None
    assert header == {"Root": ROOT, "Parent": "53995c3f42cd8ad8", "Sampled": "0"}


@pytest.mark.parametrize("decision", ["", ";Sampled=?"])
def test_without_a_decision_the_sampler_decides(decision: str) -> None:
    header = f"Root={ROOT}{decision}".encode()
    assert started(header, rate=1.0)[0] is not None
    span, keys = started(header, rate=0.0)
    assert span is None
    assert keys == {"Root": ROOT, "Sampled": "0"}


def test_a_trace_is_begun_where_there_is_none() -> None:
    span, header = started(None, rate=1.0)
    assert span is not None
    assert span.parent_id == ""
    assert header == {"Root": span.trace_id, "Parent": span.id, "Sampled": "1"}
    assert is_trace_id(span.trace_id)
    assert int(span.trace_id.split("-")[1], 16) == int(WALL)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"Root=1-2-3",
        b"Root=2-67891233-abcdef012345678912345678;Parent=1",
        b"Root=" + b"x" * 2000,
        b"\xff\xfe;=;;a=",
        b"Parent=53995c3f42cd8ad8",
    ],
)
def test_what_is_no_trace_is_replaced(value: bytes) -> None:
    span, header = started(value, rate=1.0)
    assert span is not None
    assert is_trace_id(header["Root"])
    assert span.parent_id == "", "a parent without its trace is nobody's"


def test_other_keys_go_on_but_not_the_load_balancers_own() -> None:
    _, header = started(f"Self=1-67891234-12456789abcdef012345678;Root={ROOT};CalledFrom=app;Lineage=a:1|b:2".encode())
    assert header == {"Root": ROOT, "Sampled": "0", "CalledFrom": "app", "Lineage": "a:1|b:2"}


@given(st.binary(max_size=300))
def test_any_header_gives_a_valid_one(value: bytes) -> None:
    span, header = started(value, rate=1.0)
    assert is_trace_id(header["Root"])
    assert header["Sampled"] in ("0", "1")
    assert (span is not None) == (header["Sampled"] == "1")


def test_the_first_of_each_second_and_a_share_of_the_others() -> None:
    bits = SEEDED.getrandbits
    sampler = Sampler(0.0)
    assert [sampler.sample(second + part / 10, bits) for second in range(3) for part in range(4)] == [
        True,
        False,
        False,
        False,
    ] * 3
    sampler = Sampler(0.05)
    sampled = sum(sampler.sample(1.0, bits) for _ in range(20_000))
    assert 800 < sampled < 1200
    assert all(Sampler(1.0).sample(1.0, bits) for _ in range(100))


def test_the_trace_of_a_log_line() -> None:
    assert trace_id({HEADER: f"Self=1-a-b;Root={ROOT};Sampled=0".encode()}) == ROOT
    w3c = {b"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    assert trace_id(w3c) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace_id({b"traceparent": b"00-short-1-1"}) == trace_id({}) == ""


def test_ids_of_traces() -> None:
    assert is_trace_id(new_trace_id(WALL, SEEDED.getrandbits))
    assert not is_trace_id("1-67891233-abcdef01234567891234567g")
