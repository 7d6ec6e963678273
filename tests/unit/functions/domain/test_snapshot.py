from __future__ import annotations

import dataclasses
import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.definition import parse
from registry.domain.events import parse_event
from registry.domain.layout import Head
from registry.domain.offer import Timeouts
from registry.domain.rules import TaskRecord, record_of
from registry.domain.snapshot import (
    REMEMBERED_REMOVALS,
    Document,
    Part,
    PartError,
    assemble,
    can_delta,
    decode_part,
    encode_part,
    endpoints_of,
    endpoints_without,
    iso,
    policy_of,
    same_content,
    service_document,
    update_part,
)
from tests.support.control_plane.building import service
from tests.support.control_plane.ecs import event, task_definition
from tests.support.control_plane.schemas import check

HEAD = Head(revision=42, generated_at=1_795_348_800.0, parts={}, next_revision=43)


def record(name: str = "fargate_running") -> TaskRecord:
    definition = parse(task_definition())
    assert definition is not None
    return record_of(parse_event(event(name)), definition, None)


def document(name: str = "orders", revision: int = 1, **changes: Any) -> Document:
    return service_document(service(name, **changes), endpoints_of(record()).values(), revision)


def test_times_are_written_in_utc_to_the_millisecond() -> None:
    assert iso(1_795_348_800.125) == "2026-11-22T12:00:00.125Z"


def test_a_task_is_an_endpoint_of_each_of_its_services() -> None:
    task = record()
    again = dataclasses.replace(task.endpoints[0], service="admin", port_name="adm", port=15101)
    found = endpoints_of(dataclasses.replace(task, endpoints=(*task.endpoints, again)))
    assert {name: each["id"].partition("/")[2] for name, each in found.items()} == {"orders": "http", "admin": "adm"}


def test_what_cannot_be_reached_is_no_endpoint() -> None:
    task = record()
    assert endpoints_of(record("fargate_stopped")) == {}
    assert endpoints_of(dataclasses.replace(task, address=None)) == {}
    portless = dataclasses.replace(task.endpoints[0], port=None)
    assert endpoints_of(dataclasses.replace(task, endpoints=(portless,))) == {}


def test_a_document_follows_the_schema() -> None:
    check("snapshot", assemble("shop.local", HEAD, [Part({"orders": document()})]))


def test_the_labels_timeouts_give_way_to_the_policy() -> None:
    timeouts = Timeouts(request_seconds=5, idle_seconds=0)
    assert policy_of({}, timeouts) == {"timeouts": {"request_seconds": 5, "idle_seconds": 0}}
    policy = {"timeouts": {"request_seconds": 9, "connect_seconds": 2}, "retries": {"count": 1}}
    assert policy_of(policy, timeouts) == {
        "timeouts": {"request_seconds": 9, "connect_seconds": 2, "idle_seconds": 0},
        "retries": {"count": 1},
    }
    assert policy_of({}, Timeouts()) == {}


def test_content_is_all_but_the_revision() -> None:
    assert same_content(document(revision=1), document(revision=9))
    assert not same_content(document(), document(vip="127.254.0.9"))
    assert not same_content(document(), None)
    assert same_content(None, None)


def test_endpoints_without_some_tasks() -> None:
    found = document()
    task_id = record().task_id
    assert endpoints_without(found, [task_id]) == []
    assert endpoints_without(found, [task_id[:-1]]) == found["endpoints"]
    assert endpoints_without(None, []) == []


def test_a_part_changes_only_with_its_content() -> None:
    part = update_part(Part(), {"orders": document(), "gone": None}, 7)
    assert part is not None
    assert part.services["orders"]["revision"] == 7
    assert part.removed == {}
    assert update_part(part, {"orders": document(revision=99)}, 8) is None
    changed = update_part(part, {"orders": document(vip="127.254.0.9"), "stock": document("stock")}, 8)
    assert changed is not None
    assert {name: each["revision"] for name, each in changed.services.items()} == {"orders": 8, "stock": 8}


def test_a_removed_service_is_remembered_until_it_returns() -> None:
    part = update_part(Part({"orders": document(revision=3)}), {"orders": None}, 8)
    assert part is not None
    assert (dict(part.services), part.removed) == ({}, {"orders": 8})
    back = update_part(part, {"orders": document()}, 9)
    assert back is not None
    assert back.removed == {}


def test_the_oldest_removals_are_forgotten_and_deltas_from_before_them_refused() -> None:
    part = Part()
    for number in range(REMEMBERED_REMOVALS + 2):
        name = f"s{number}"
        added = update_part(part, {name: document(name)}, 2 * number + 1)
        assert added is not None
        removed = update_part(added, {name: None}, 2 * number + 2)
        assert removed is not None
        part = removed
    assert len(part.removed) == REMEMBERED_REMOVALS
    assert part.floor == 4
    head = dataclasses.replace(HEAD, revision=500)
    assert not can_delta([part], head, 3)
    assert can_delta([part], head, 4)


def test_parts_are_stored_and_read_back() -> None:
    part = Part({"orders": document()}, {"stock": 3}, 2)
    assert decode_part(encode_part(part)) == part
    assert encode_part(part) == encode_part(decode_part(encode_part(part)))


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", gzip.compress(b"{"), gzip.compress(b"[]"), gzip.compress(b"{}"), encode_part(Part())[:-9]],
)
def test_a_damaged_part_is_said_to_be_damaged(data: bytes) -> None:
    with pytest.raises(PartError, match="damaged"):
        decode_part(data)


def parts() -> list[Part]:
    return [
        Part({"b": document("b", 3), "d": document("d", 9)}, {"x": 5}),
        Part({"a": document("a", 8)}, {"y": 9}),
    ]


def names(found: Document) -> list[str]:
    return [each["name"] for each in found["services"]]


def test_a_full_document_is_sorted_and_has_no_trace_of_deltas() -> None:
    found = assemble("shop.local", HEAD, parts())
    assert names(found) == ["a", "b", "d"]
    assert "since" not in found
    assert "removed" not in found


def test_a_delta_tells_what_changed_and_what_went() -> None:
    found = assemble("shop.local", HEAD, parts(), since=5)
    assert names(found) == ["a", "d"]
    assert (found["since"], found["removed"]) == (5, ["y"])
    check("snapshot", found)


def test_a_filter_says_nothing_of_others() -> None:
    assert names(assemble("shop.local", HEAD, parts(), names=frozenset({"b", "zz"}))) == ["b"]
    found = assemble("shop.local", HEAD, parts(), since=2, names=frozenset({"b", "x"}))
    assert (names(found), found["removed"]) == (["b"], ["x"])


def test_deltas_need_a_revision_that_was_published() -> None:
    assert can_delta([], HEAD, 42)
    assert not can_delta([], HEAD, 43)
    assert not can_delta([], HEAD, 0)


Steps = list[dict[str, str | None]]
STEPS = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2", None]), max_size=3), min_size=1, max_size=12
)


@given(STEPS, st.data())
def test_a_delta_on_an_old_document_gives_the_new_one(steps: Steps, data: st.DataObject) -> None:
    """The contract of `since`, over random histories of two parts."""
    current = [Part(), Part()]
    history: list[Document] = []
    revision = 0
    for step in steps:
        changed = False
        for number in (0, 1):
            changes = {
                name: None if octet is None else document(name, vip=f"127.254.0.{octet}")
                for name, octet in step.items()
                if ord(name) % 2 == number
            }
            new = update_part(current[number], changes, revision + 1)
            if new is not None:
                current[number], changed = new, True
        if changed:
            revision += 1
            history.append(assemble("n", dataclasses.replace(HEAD, revision=revision), current))
    if not history:
        return
    old = data.draw(st.sampled_from(history))
    head = dataclasses.replace(HEAD, revision=revision)
    delta = assemble("n", head, current, since=old["revision"])
    merged = {each["name"]: each for each in old["services"]}
    merged |= {each["name"]: each for each in delta["services"]}
    for name in delta["removed"]:
        merged.pop(name, None)
    assert sorted(merged.values(), key=lambda each: str(each["name"])) == history[-1]["services"]


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (1_795_349_160.25, "2026-11-22T12:06:00.250Z"),
        (1_795_349_160_000.0, "2100-01-01T00:00:00.000Z"),
        (-1.0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_every_number_is_a_time_in_the_snapshot(epoch: float, text: str) -> None:
    assert iso(epoch) == text
