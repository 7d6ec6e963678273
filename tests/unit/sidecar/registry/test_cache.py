"""The snapshot on disk: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.registry.cache import SnapshotCache

GOLDEN = Path(__file__).parents[3] / "golden" / "snapshots" / "shop.json"


def snapshot() -> Snapshot:
    return apply(None, decode(GOLDEN.read_bytes(), "shop.local"))


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    cache = SnapshotCache(str(tmp_path / "new" / "snapshot.json"))
    assert cache.load("shop.local") is None
    assert cache.store(snapshot())
    loaded = cache.load("shop.local")
    assert loaded is not None
    assert loaded.revision == 42
    assert loaded.services["orders"].endpoints == snapshot().services["orders"].endpoints
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["snapshot.json"], "no temporary file stays"


def test_a_snapshot_of_another_namespace_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = SnapshotCache(str(tmp_path / "snapshot.json"))
    cache.store(snapshot())
    assert cache.load("other") is None
    assert "is ignored" in caplog.text


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_or_damaged_file_is_ignored(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "snapshot.json"
    cache = SnapshotCache(str(path))
    cache.store(snapshot())
    whole = path.read_bytes()
    path.write_bytes(
        whole[: data.draw(st.integers(0, len(whole) - 1))] + data.draw(st.sampled_from([b"", b"\xff", b"}"]))
    )
    loaded = cache.load("shop.local")
    assert loaded is None or loaded.revision == 42


def test_a_directory_in_its_place_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = SnapshotCache(str(tmp_path))
    assert cache.load("shop.local") is None
    assert not cache.store(snapshot())
    assert not cache.store(snapshot())
    messages = [record.getMessage() for record in caplog.records]
    assert ["cannot read" in message for message in messages] == [True, False], "each said once"
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_failed_write_leaves_the_old_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    cache = SnapshotCache(str(path))
    cache.store(snapshot())
    before = path.read_bytes()
    bad = Snapshot("shop.local", 43, {"x": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        cache.store(bad)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["snapshot.json"]
