"""The snapshot on disk: whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.registry.cache import MINIMUM_DELTA_BYTES, SnapshotCache

NAMESPACE = "shop.local"
GOLDEN = Path(__file__).parents[3] / "golden" / "snapshots" / "shop.json"
RESTORED = GOLDEN.with_name("restored.json")
FIRST = 42


def snapshot() -> Snapshot:
    return apply(None, decode(GOLDEN.read_bytes(), NAMESPACE))


def delta(revision: int, size: int = 0) -> bytes:
    """Return a delta that gives an endpoint of the service orders another address."""
    services = json.loads(GOLDEN.read_text())["services"]
    orders: dict[str, Any] = next(each for each in services if each["name"] == "orders")
    orders["endpoints"][0]["address"] = f"10.0.0.{revision % 250}"
    document = {"schema": 1, "namespace": NAMESPACE, "revision": revision, "since": revision - 1, "removed": []}
    document["epoch"] = snapshot().epoch
    return json.dumps(document | {"services": [orders], "padding": "x" * size}).encode()


def written(path: Path, deltas: int, size: int = 0) -> Snapshot:
    """Write the first snapshot and so many deltas, and return the last snapshot."""
    cache, found = SnapshotCache(str(path)), snapshot()
    assert cache.store(found, GOLDEN.read_bytes())
    for revision in range(FIRST + 1, FIRST + 1 + deltas):
        body = delta(revision, size)
        found = apply(found, decode(body, NAMESPACE))
        assert cache.store(found, body, revision - 1)
    return found


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    cache = SnapshotCache(str(tmp_path / "new" / "snapshot.json"))
    assert cache.load(NAMESPACE) is None
    assert cache.store(snapshot())
    loaded = cache.load(NAMESPACE)
    assert loaded is not None
    assert (loaded.version, loaded.services) == (snapshot().version, snapshot().services)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["snapshot.json"], "no temporary file stays"


def test_deltas_are_added_to_the_document(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    last = written(path, 5)
    assert path.read_bytes().count(b"\n") > 5
    assert GOLDEN.read_bytes() in path.read_bytes(), "the document is as it came"
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (FIRST + 5, last.services)


def test_behind_a_delta_that_is_not_written_the_whole_snapshot_stands(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    last = written(path, 2)
    cache = SnapshotCache(str(path))
    assert cache.load(NAMESPACE) is not None
    for revision, is_written in ((last.revision + 1, False), (last.revision + 2, True)):
        body = delta(revision)
        last = apply(last, decode(body, NAMESPACE))
        assert cache.store(last, body if is_written else b"", revision - 1)
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (last.revision, last.services)


def test_a_snapshot_of_another_epoch_replaces_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    before = written(path, 2)
    body = RESTORED.read_bytes()
    restored = apply(before, decode(body, NAMESPACE))
    cache = SnapshotCache(str(path))
    assert cache.store(restored, body)
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert loaded is not None
    assert (loaded.version, loaded.services) == (restored.version, restored.services)


def test_a_journal_stays_within_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    size = MINIMUM_DELTA_BYTES // 4
    last = written(path, 20, size)
    assert path.stat().st_size < MINIMUM_DELTA_BYTES + 2 * len(GOLDEN.read_bytes()) + 20 * 100
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (FIRST + 20, last.services)


def test_a_delta_that_does_not_follow_what_is_on_disk_is_not_added_to_it(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    cache = SnapshotCache(str(path))
    cache.store(snapshot(), GOLDEN.read_bytes())
    after = Snapshot(NAMESPACE, FIRST + 2, {})
    assert cache.store(after, b"a delta", FIRST + 1)
    loaded = cache.load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (FIRST + 2, {})


def test_a_delta_that_begins_before_what_is_on_disk_is_added_to_it(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    cache = SnapshotCache(str(path))
    cache.store(snapshot(), GOLDEN.read_bytes())
    body = json.dumps(json.loads(delta(FIRST + 1)) | {"since": FIRST - 5}).encode()
    after = apply(snapshot(), decode(body, NAMESPACE))
    assert cache.store(after, body, FIRST - 5)
    assert path.read_bytes().startswith(b"tramo-snapshot-1 %d " % len(GOLDEN.read_bytes()))
    loaded = cache.load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (FIRST + 1, after.services)


def test_the_file_of_an_earlier_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    written(path, 1)
    again = SnapshotCache(str(path))
    body = delta(FIRST + 2)
    assert again.store(Snapshot(NAMESPACE, FIRST + 2, {}), body, FIRST + 1)
    loaded = again.load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (FIRST + 2, {})


def test_a_snapshot_of_another_namespace_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = SnapshotCache(str(tmp_path / "snapshot.json"))
    cache.store(snapshot())
    assert cache.load("other") is None
    assert "all of it is ignored" in caplog.text


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_file_gives_a_snapshot_that_once_was(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "snapshot.json"
    written(path, 3)
    whole = path.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:length] + data.draw(st.sampled_from([b"", b"\n", b"\xff", b"tramo-snapshot-1 5 0\n"])))
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert (loaded is None) == (length < len(GOLDEN.read_bytes()) + len("tramo-snapshot-1 0000 00000000\n")), length
    if loaded is not None:
        assert FIRST <= loaded.revision < FIRST + 3 or length == len(whole) - 1
        assert set(loaded.services) == set(snapshot().services)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "snapshot.json"
    written(path, 2)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert loaded is None or loaded.revision < FIRST + 2


def test_damage_is_reported_with_what_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "snapshot.json"
    written(path, 2)
    path.write_bytes(path.read_bytes()[:-10])
    loaded = SnapshotCache(str(path)).load(NAMESPACE)
    assert loaded is not None
    assert loaded.revision == FIRST + 1
    assert "what follows revision 43 is ignored" in caplog.text
    for garbage in (b"", b"{}", b"tramo-snapshot-1 9999999 00000000\n", b"tramo-snapshot-1 %s 0\n" % (b"9" * 5000)):
        path.write_bytes(garbage)
        assert SnapshotCache(str(path)).load(NAMESPACE) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 5


def test_a_directory_in_its_place_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = SnapshotCache(str(tmp_path))
    assert cache.load(NAMESPACE) is None
    assert not cache.store(snapshot())
    assert not cache.store(snapshot())
    messages = [record.getMessage() for record in caplog.records]
    assert ["cannot read" in message for message in messages] == [True, False], "each said once"
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_file_that_was_taken_away_begins_with_a_whole_document_again(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    cache = SnapshotCache(str(path))
    cache.store(snapshot(), GOLDEN.read_bytes())
    path.unlink()
    after = apply(snapshot(), decode(delta(FIRST + 1), NAMESPACE))
    assert not cache.store(after, delta(FIRST + 1), FIRST)
    assert not path.exists()
    last = apply(after, decode(delta(FIRST + 2), NAMESPACE))
    assert cache.store(last, delta(FIRST + 2), FIRST + 1)
    loaded = cache.load(NAMESPACE)
    assert loaded is not None
    assert (loaded.revision, loaded.services) == (FIRST + 2, last.services)


def test_a_failed_write_leaves_the_old_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    cache = SnapshotCache(str(path))
    cache.store(snapshot())
    before = path.read_bytes()
    bad = Snapshot(NAMESPACE, 43, {"x": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        cache.store(bad)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["snapshot.json"]
