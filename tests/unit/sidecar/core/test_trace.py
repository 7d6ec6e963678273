"""Which requests are traced, and the header that says so."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.messages import Fields
from sidecar.core.trace import (
    HEADER,
    TRACEPARENT,
    TRACESTATE,
    Sampler,
    Span,
    begin,
    is_trace_id,
    new_trace_id,
    parse,
    trace_id,
    traceparent,
    w3c_trace_id,
)

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


# W3C's traceparent beside it.

W3C_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
W3C_PARENT = "00f067aa0ba902b7"


def both(*fields: tuple[bytes, bytes], rate: float = 0.0) -> tuple[Span | None, dict[str, str], list[str], Fields]:
    """The span, X-Ray's keys, the parts of `traceparent`, and the other fields that go on."""
    sampler = Sampler(rate)
    sampler.sample(5.0, SEEDED.getrandbits)
    passed: Fields = [(b"a", b"b"), *fields]
    span = begin(passed, sampler, "orders", False, 5.5, WALL, SEEDED.getrandbits, w3c=True)
    (xray,) = [value for name, value in passed if name == HEADER]
    (w3c,) = [value for name, value in passed if name == TRACEPARENT]
    others = [field for field in passed if field[0] not in (HEADER, TRACEPARENT)]
    return span, parse(xray), w3c.decode().split("-"), others


def test_a_traceparent_is_continued_in_both_headers() -> None:
    state = (TRACESTATE, b"congo=t61rcWkgMzE")
    span, xray, w3c, others = both((TRACEPARENT, f"00-{W3C_ID}-{W3C_PARENT}-03".encode()), state)
    assert span is not None
    assert (w3c_trace_id(span.trace_id), span.parent_id) == (W3C_ID, W3C_PARENT)
    assert w3c == ["00", W3C_ID, span.id, "03"]
    assert xray == {"Root": f"1-{W3C_ID[:8]}-{W3C_ID[8:]}", "Parent": span.id, "Sampled": "1"}
    assert others == [(b"a", b"b"), state]


def test_a_traceparent_that_is_not_sampled_goes_on_as_it_came() -> None:
    span, xray, w3c, _ = both((TRACEPARENT, f"00-{W3C_ID}-{W3C_PARENT}-00".encode()), rate=1.0)
    assert span is None
    assert w3c == ["00", W3C_ID, W3C_PARENT, "00"]
    assert xray == {"Root": f"1-{W3C_ID[:8]}-{W3C_ID[8:]}", "Parent": W3C_PARENT, "Sampled": "0"}


def test_a_traceparent_comes_before_xrays_header_of_another_trace() -> None:
    xray_field = (HEADER, f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Key=1".encode())
    span, xray, _, _ = both(xray_field, (TRACEPARENT, f"00-{W3C_ID}-{W3C_PARENT}-01".encode()))
    assert span is not None
    assert xray == {"Root": f"1-{W3C_ID[:8]}-{W3C_ID[8:]}", "Parent": span.id, "Sampled": "1"}


@pytest.mark.parametrize("sampled", [True, False])
def test_xrays_header_alone_is_continued_in_both(sampled: bool) -> None:
    field = (HEADER, f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled={int(sampled)};Key=1".encode())
    span, xray, w3c, _ = both(field)
    parent = span.id if span is not None else "53995c3f42cd8ad8"
    assert (span is not None) is sampled
    assert w3c == ["00", w3c_trace_id(ROOT), parent, f"0{int(sampled)}"]
    assert xray == {"Root": ROOT, "Parent": parent, "Sampled": str(int(sampled)), "Key": "1"}


def test_a_trace_begun_here_is_in_both_headers_whether_sampled_or_not() -> None:
    span, xray, w3c, _ = both(rate=1.0)
    assert span is not None
    assert w3c == ["00", w3c_trace_id(xray["Root"]), span.id, "01"]
    span, xray, w3c, _ = both(rate=0.0)
    assert span is None
    assert (w3c[1], w3c[3]) == (w3c_trace_id(xray["Root"]), "00")
    assert traceparent([(TRACEPARENT, "-".join(w3c).encode())]) is not None


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{W3C_ID}-{W3C_PARENT}",
        f"00-{W3C_ID}-{W3C_PARENT}-01-more",
        f"ff-{W3C_ID}-{W3C_PARENT}-01",
        f"00-{W3C_ID.upper()}-{W3C_PARENT}-01",
        f"00-{'0' * 32}-{W3C_PARENT}-01",
        f"00-{W3C_ID}-{'0' * 16}-01",
        f"00-{W3C_ID}-{W3C_PARENT}-1",
        f"01-{W3C_ID}-{W3C_PARENT}-01-" + "a" * 2000,
    ],
)
def test_an_invalid_traceparent_is_replaced_and_its_state_goes(value: str) -> None:
    assert traceparent([(TRACEPARENT, value.encode())]) is None
    _, _, w3c, others = both((TRACEPARENT, value.encode()), (TRACESTATE, b"a=b"))
    assert w3c[1] != W3C_ID
    assert others == [(b"a", b"b")]


def test_two_traceparents_are_none() -> None:
    field = (TRACEPARENT, f"00-{W3C_ID}-{W3C_PARENT}-01".encode())
    _, _, w3c, _ = both(field, field)
    assert w3c[1] != W3C_ID


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    found = traceparent([(TRACEPARENT, f"01-{W3C_ID}-{W3C_PARENT}-01-more".encode())])
    assert found is not None
    assert (found.trace_id, found.parent_id, found.is_sampled) == (W3C_ID, W3C_PARENT, True)


@given(st.lists(st.tuples(st.sampled_from([HEADER, TRACEPARENT, TRACESTATE]), st.binary(max_size=80)), max_size=4))
def test_whatever_comes_both_headers_say_the_same(fields: list[tuple[bytes, bytes]]) -> None:
    sampler = Sampler(0.5)
    passed: Fields = list(fields)
    span = begin(passed, sampler, "orders", False, 5.5, WALL, SEEDED.getrandbits, w3c=True)
    found = traceparent(passed)
    assert found is not None
    xray = parse(next(value for name, value in passed if name == HEADER))
    assert w3c_trace_id(xray["Root"]) == found.trace_id
    assert found.is_sampled is (xray["Sampled"] == "1") is (span is not None)
    if span is not None:
        assert xray["Parent"] == found.parent_id == span.id
