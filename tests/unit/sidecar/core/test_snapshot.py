"""Snapshot documents: the same golden files that the control plane's tests write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routing.policy import DEFAULT
from sidecar.core.snapshot import Snapshot, SnapshotError, apply, decode, encode

GOLDEN = Path(__file__).parents[3] / "golden" / "snapshots"
EPOCH = "1f0c77d2a4b9"  # of shop and delta
FILES = sorted(GOLDEN.glob("*.json"))


def golden(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return document


def snapshot(name: str) -> Snapshot:
    document = golden(name)
    return apply(None, decode(json.dumps(document).encode(), document["namespace"]))


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_documents_are_read_whole(path: Path) -> None:
    raw = json.loads(path.read_text())
    document = decode(path.read_bytes(), raw["namespace"])
    assert document.revision == raw["revision"]
    assert (document.since, document.epoch) == (raw.get("since"), raw.get("epoch", ""))
    assert list(document.removed) == raw.get("removed", [])
    assert [service.name for service in document.services] == [service["name"] for service in raw["services"]]
    for service, expected in zip(document.services, raw["services"], strict=True):
        assert [(alias.dns_name, alias.port) for alias in service.aliases] == [
            (alias["dns_name"], alias["port"]) for alias in expected["aliases"]
        ]
        for endpoint, record in zip(service.endpoints, expected["endpoints"], strict=True):
            for field in ("id", "address", "port", "state", "zone", "weight"):
                assert getattr(endpoint, field) == record[field]
            assert endpoint.protocol == record.get("protocol")


def test_policies_are_read_with_their_defaults() -> None:
    policy = snapshot("shop").services["orders"].policy_or_default()
    assert (policy.retries.count, policy.timeouts.request_seconds) == (3, 5.0)
    assert (policy.retries.budget_percent, policy.timeouts.idle_seconds) == (20.0, 300.0)
    assert snapshot("unknown_fields").services["orders"].policy_or_default().retries.count == 1


def test_a_delta_replaces_adds_and_removes() -> None:
    before = snapshot("shop")
    document = decode((GOLDEN / "delta.json").read_bytes(), "shop.local")
    after = apply(before, document)
    assert after.revision == 44
    assert set(after.services) == {"orders", "stock"}
    assert after.services["orders"] is before.services["orders"]
    assert len(after.services["stock"].endpoints) == 1
    assert set(before.services) == {"ledger", "orders", "stock"}, "the snapshot at hand is not touched"


def test_services_that_are_said_again_as_they_were_keep_their_records() -> None:
    before = snapshot("shop")
    document = golden("shop") | {"revision": 43}
    document["services"][0]["endpoints"] = []
    for changed in (document, document | {"since": 42, "removed": []}):
        after = apply(before, decode(json.dumps(changed).encode(), "shop.local"))
        assert [name for name in after.services if after.services[name] is not before.services[name]] == ["ledger"]
        assert after.services["ledger"].endpoints == ()


def test_a_snapshot_does_not_hold_the_document_that_it_came_from() -> None:
    """Else a small delta would keep the megabytes of the document before it."""
    data = json.dumps(golden("shop") | {"comment": "x" * 1_000_000}).encode()
    references = sys.getrefcount(data)
    held = apply(None, decode(data, "shop.local"))
    assert sys.getrefcount(data) == references
    assert held.services["orders"].policy_or_default().retries.count == 3


def test_zones_and_states_are_kept_once() -> None:
    document = golden("shop")
    record = next(each for each in document["services"] if len(each["endpoints"]) > 1)
    for endpoint in record["endpoints"]:
        endpoint |= {"zone": "use1-az1", "state": "ready"}
    endpoints = apply(None, decode(json.dumps(document).encode(), "shop.local")).services[record["name"]].endpoints
    assert len({id(endpoint.zone) for endpoint in endpoints}) == 1
    assert len({id(endpoint.state) for endpoint in endpoints}) == 1


@pytest.mark.parametrize(
    "address", ["256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4\n", "\u0661.2.3.4", "1.2.3.4/8"]
)
def test_only_addresses_are_taken_for_addresses(address: str) -> None:
    document = golden("shop")
    document["services"][0]["endpoints"][0]["address"] = address
    assert decode(json.dumps(document).encode(), "shop.local").services[0].endpoints == ()
    document["services"][0]["endpoints"][0]["address"] = "2001:db8::7"
    assert decode(json.dumps(document).encode(), "shop.local").services[0].endpoints[0].address == "2001:db8::7"


@pytest.mark.parametrize("revision", [None, 41])
def test_a_delta_for_a_later_revision_is_refused(revision: int | None) -> None:
    current = None if revision is None else Snapshot("shop.local", revision, {}, EPOCH)
    with pytest.raises(SnapshotError, match="since 1f0c77d2a4b9-42"):
        apply(current, decode((GOLDEN / "delta.json").read_bytes(), "shop.local"))


def test_a_delta_for_an_earlier_revision_applies() -> None:
    delta = decode((GOLDEN / "delta.json").read_bytes(), "shop.local")
    whole = apply(None, decode((GOLDEN / "shop.json").read_bytes(), "shop.local"))
    assert delta.since is not None
    assert delta.since <= whole.revision
    nearer = Snapshot(whole.namespace, delta.revision - 1, whole.services, EPOCH)
    assert delta.since < nearer.revision
    assert apply(nearer, delta).services == apply(whole, delta).services
    with pytest.raises(SnapshotError, match="is older than"):
        apply(Snapshot(whole.namespace, delta.revision + 1, {}, EPOCH), delta)


def test_a_document_never_goes_back() -> None:
    document = decode((GOLDEN / "shop.json").read_bytes(), "shop.local")
    with pytest.raises(SnapshotError, match="42 is older than 43"):
        apply(Snapshot("shop.local", 43, {}, EPOCH), document)
    assert apply(Snapshot("shop.local", 42, {}, EPOCH), document).revision == 42


def test_a_snapshot_of_another_epoch_is_taken_whole_whatever_its_revision() -> None:
    before, restored = snapshot("shop"), golden("restored")
    after = apply(before, decode(json.dumps(restored).encode(), "shop.local"))
    assert (before.version, after.version) == ("1f0c77d2a4b9-42", "c3d4e5f60718-7")
    assert list(after.services) == ["orders"]
    back = apply(after, decode(json.dumps(golden("shop")).encode(), "shop.local"))
    assert back.version == before.version
    without = {name: value for name, value in restored.items() if name != "epoch"}
    assert apply(before, decode(json.dumps(without).encode(), "shop.local")).version == "7"


def test_a_delta_of_another_epoch_is_refused_though_its_number_fits() -> None:
    delta = golden("delta") | {"epoch": "c3d4e5f60718"}
    with pytest.raises(SnapshotError, match="since c3d4e5f60718-42 came, but the revision here is 1f0c77d2a4b9-42"):
        apply(snapshot("shop"), decode(json.dumps(delta).encode(), "shop.local"))


def test_another_namespace_and_schema_are_refused() -> None:
    data = (GOLDEN / "shop.json").read_bytes()
    with pytest.raises(SnapshotError, match=r"'shop\.local', not 'other'"):
        decode(data, "other")
    with pytest.raises(SnapshotError, match="schema is 2, this sidecar reads 1"):
        decode(data.replace(b'"schema": 1', b'"schema": 2'), "shop.local")


def changed(document: Any, path: str, value: object) -> bytes:
    """The document with another value at a place, as it is sent."""
    place: Any = document
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("revision", "42", r"\$\.revision"),
        ("revision", None, r"\$\.revision"),
        ("services", {}, r"\$\.services"),
        ("epoch", "a/b", "epoch"),
    ],
)
def test_what_is_wrong_with_the_whole_is_refused_with_its_place(path: str, value: object, says: str) -> None:
    with pytest.raises(SnapshotError, match=says):
        decode(changed(golden("shop"), path, value), "shop.local")


@pytest.mark.parametrize(
    ("path", "value", "part", "says"),
    [
        ("0.aliases.0.port", "80", "alias 0", "Expected `int`, got `str`"),
        ("0.aliases.0.port", 65536, "alias 0", "65535"),
        ("0.aliases.0.dns_name", "a\n10.0.0.1 b", "alias 0", "matching regex"),
        ("0.aliases.0.dns_name", "", "alias 0", "matching regex"),
        ("0.aliases", None, "the service", "aliases"),
        ("0.protocol", "smtp", "the service", "'smtp'"),
        ("0.vip", "nowhere", "the service", "'nowhere' is no IPv4 address"),
        ("0.vip", "::1", "the service", "'::1' is no IPv4 address"),
        ("0.endpoints", None, "the service", "endpoints"),
        ("0.endpoints.0.address", "host.example", "endpoint {id}", "'host.example' is no IP address"),
        ("0.endpoints.0.port", 99999, "endpoint {id}", "65535"),
        ("0.endpoints.0.protocol", "quic", "endpoint {id}", "'quic'"),
        ("0.endpoints.0.id", None, "endpoint 0", "got `null`"),
        ("0.name", 7, "service 0 of the document", "name"),
        ("0", None, "service 0 of the document", "got `null`"),
        ("0.policy", {"retries": {"count": -1}}, "the policy, instead of which the default is used", "count"),
    ],
)
def test_what_cannot_be_read_costs_itself_and_is_named(path: str, value: object, part: str, says: str) -> None:
    document = golden("shop")
    endpoint_id = document["services"][0]["endpoints"][0]["id"]
    read = decode(changed(document, f"services.{path}", value), "shop.local")
    (found,) = read.unreadable
    is_named = "of the document" not in part
    assert (found.service, found.part) == ("ledger" if is_named else "", part.format(id=endpoint_id))
    assert says in found.why
    lost = part == "the service" or not is_named
    assert [service.name for service in read.services] == ([] if lost else ["ledger"]) + ["orders", "stock"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(st.data(), JSON, st.booleans())
def test_whatever_becomes_of_one_entry_all_others_are_used(data: st.DataObject, value: object, deletes: bool) -> None:
    document = golden("mixed_protocols")
    before = apply(None, decode(json.dumps(document).encode(), document["namespace"])).services
    service = data.draw(st.sampled_from(document["services"]))
    name = service["name"]
    entry = data.draw(st.sampled_from([service, *service["endpoints"], *service["aliases"]]))
    field = data.draw(st.sampled_from(sorted(entry)))
    if deletes:
        del entry[field]
    else:
        entry[field] = value
    after = apply(None, decode(json.dumps(document).encode(), document["namespace"]))
    assert {other: after.services[other] for other in before if other != name} == {
        other: record for other, record in before.items() if other != name
    }
    if entry is service:
        return
    kept = after.services[name]
    for kind in ("endpoints", "aliases"):
        known = [each for each, raw in zip(getattr(before[name], kind), service[kind], strict=True) if raw is not entry]
        assert [each for each in getattr(kept, kind) if each in known] == known
    lost = sum(len(getattr(before[name], kind)) - len(getattr(kept, kind)) for kind in ("endpoints", "aliases"))
    assert lost == len(after.unreadable.get(name, ()))


def test_an_endpoint_that_cannot_be_read_stays_as_it_was_known() -> None:
    before = snapshot("shop")
    known = before.services["ledger"].endpoints[0]
    for field, value in (("address", "nowhere"), ("port", "15100")):
        broken = golden("shop") | {"revision": 43}
        broken["services"][0]["endpoints"][0][field] = value
        after = apply(before, decode(json.dumps(broken).encode(), "shop.local"))
        assert after.services["ledger"].endpoints == (known,)
        assert [each.endpoint for each in after.unreadable["ledger"]] == [known.id]
        assert apply(None, decode(json.dumps(broken).encode(), "shop.local")).services["ledger"].endpoints == ()


def test_a_service_that_cannot_be_read_stays_as_it_was_known_until_it_can() -> None:
    before = snapshot("shop")
    broken = golden("shop") | {"revision": 43}
    broken["services"][0]["vip"] = "nowhere"
    for document in (broken, broken | {"since": 42, "removed": []}):
        after = apply(before, decode(json.dumps(document).encode(), "shop.local"))
        assert after.services["ledger"] is before.services["ledger"]
        assert list(after.unreadable) == ["ledger"]
        other = golden("shop") | {"revision": 44, "since": 43, "removed": []}
        without = other | {"services": other["services"][1:]}
        later = apply(after, decode(json.dumps(without).encode(), "shop.local"))
        assert list(later.unreadable) == ["ledger"], "nothing new was said of it"
        assert apply(after, decode(json.dumps(other).encode(), "shop.local")).unreadable == {}
        gone = without | {"removed": ["ledger"]}
        removed = apply(after, decode(json.dumps(gone).encode(), "shop.local"))
        assert (removed.unreadable, "ledger" in removed.services) == ({}, False)


@pytest.mark.parametrize("field", ["schema", "namespace", "revision", "services"])
def test_missing_fields_are_named(field: str) -> None:
    document = golden("shop")
    del document[field]
    with pytest.raises(SnapshotError, match=field):
        decode(json.dumps(document).encode(), "shop.local")


@pytest.mark.parametrize(
    "policy", [{"retries": {"count": "many"}}, {"retries": {"count": -1}}, {"timeouts": {"connect_seconds": -1}}, []]
)
def test_one_bad_policy_does_not_cost_the_namespace(policy: object) -> None:
    document = golden("shop")
    document["services"][1]["policy"] = policy
    read = apply(None, decode(json.dumps(document).encode(), "shop.local"))
    assert read.services["orders"].policy_or_default() == DEFAULT
    assert len(read.services) == 3
    assert list(read.unreadable) == ["orders"]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_snapshot_errors(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        decode(data, "shop.local")


@given(st.data())
def test_truncated_documents_are_refused(data: st.DataObject) -> None:
    whole = (GOLDEN / "shop.json").read_bytes().rstrip()
    with pytest.raises(SnapshotError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))], "shop.local")


@pytest.mark.parametrize("name", ["shop", "mixed_protocols", "unknown_fields", "empty"])
def test_a_snapshot_survives_the_disk(name: str) -> None:
    before = snapshot(name)
    after = apply(None, decode(encode(before), before.namespace))
    assert (after.namespace, after.revision) == (before.namespace, before.revision)
    assert set(after.services) == set(before.services)
    for service_name, service in before.services.items():
        again = after.services[service_name]
        assert (again.endpoints, again.aliases, again.vip) == (service.endpoints, service.aliases, service.vip)
        assert again.policy_or_default() == service.policy_or_default()
