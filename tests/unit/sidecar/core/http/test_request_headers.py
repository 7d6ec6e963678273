"""Fields that the proxy adds, and those that it leaves alone."""

from __future__ import annotations

import random
import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.messages import Fields
from sidecar.core.http.request_headers import IDS_AT_ONCE, RequestIds, inbound, outbound

IDS = RequestIds(random.Random(1).getrandbits)  # noqa: S311 - a seed makes tests repeatable
PEER = b"10.0.1.7"
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_outbound_adds_a_request_id_and_nothing_else() -> None:
    fields: Fields = [(b"accept", b"*/*")]
    outbound(fields, IDS)
    assert [name for name, _ in fields] == [b"accept", b"x-request-id"]
    assert UUID.fullmatch(fields[1][1])


def test_a_request_id_that_is_there_is_kept() -> None:
    for complete in (outbound, lambda fields, random: inbound(fields, PEER, random)):
        fields: Fields = [(b"x-request-id", b"mine")]
        complete(fields, IDS)
        assert [value for name, value in fields if name == b"x-request-id"] == [b"mine"]


def test_inbound_tells_who_called() -> None:
    fields: Fields = []
    inbound(fields, PEER, IDS)
    assert fields[:2] == [(b"x-forwarded-for", PEER), (b"x-forwarded-proto", b"http")]
    assert UUID.fullmatch(dict(fields)[b"x-request-id"])


def test_inbound_appends_to_what_a_load_balancer_said() -> None:
    fields: Fields = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    inbound(fields, PEER, IDS)
    assert dict(fields)[b"x-forwarded-for"] == b"203.0.113.9, 10.0.1.7"
    assert dict(fields)[b"x-forwarded-proto"] == b"https", "the user's, not the last hop's"


def test_of_several_lines_the_last_is_appended_to() -> None:
    fields: Fields = [(b"x-forwarded-for", b"1.1.1.1"), (b"a", b"b"), (b"x-forwarded-for", b"")]
    inbound(fields, PEER, IDS)
    assert [value for name, value in fields if name == b"x-forwarded-for"] == [b"1.1.1.1", PEER]


@given(
    st.lists(
        st.tuples(st.sampled_from([b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"cookie"]), st.binary())
    )
)
def test_fields_of_other_tracers_pass_untouched(before: Fields) -> None:
    fields = list(before)
    inbound(fields, PEER, IDS)
    outbound(fields, IDS)
    assert fields[: len(before)] == before


def test_ids_are_uuids_of_version_4_and_differ() -> None:
    count = 16 * IDS_AT_ONCE
    ids = {IDS.next() for _ in range(count)}
    assert len(ids) == count
    assert all(UUID.fullmatch(each) and uuid.UUID(each.decode()).version == 4 for each in ids)
