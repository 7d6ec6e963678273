"""Searching for the highest rate, and control groups of both kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.limits import MEMORY_BYTES, make
from tests.benchmarks.load import Run
from tests.benchmarks.small import highest, is_held


@pytest.mark.parametrize(("limit", "found"), [(100.0, 93.75), (260.0, 250.0), (1_000.0, 1_000.0), (1_650.0, 1_625.0)])
def test_the_highest_rate_is_found_by_doubling_and_halving(limit: float, found: float) -> None:
    assert highest(lambda rate: rate <= limit, 250.0, 64_000.0, 3) == found


def test_one_chance_miss_does_not_end_the_search() -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= 1_000 and tried.count(rate) > 1

    assert highest(holds, 250.0, 64_000.0, 0) == 1_000


def test_the_search_ends() -> None:
    assert highest(lambda rate: True, 250.0, 1_000.0, 0) == 1_000


@pytest.mark.parametrize(
    ("run", "held"),
    [
        (Run(300, 0, 98.0, 1_000.0, 49_000.0), True),
        (Run(300, 1, 98.0, 1_000.0, 49_000.0), False),
        (Run(300, 0, 90.0, 1_000.0, 49_000.0), False),
        (Run(300, 0, 98.0, 1_000.0, 51_000.0), False),
    ],
)
def test_a_rate_is_held_when_all_is_answered_in_time(run: Run, held: bool) -> None:
    assert is_held(run, 100.0) is held


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("5:cpu,cpuacct:/\n4:memory:/own\n0::/\n")
    for name in ("cpu", "memory/own"):
        (tmp_path / name).mkdir(parents=True)
    group = make("g", tmp_path, tmp_path / "self")
    assert group is not None
    cpu, memory = tmp_path / "cpu" / "g", tmp_path / "memory" / "own" / "g"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "25000"
    assert (memory / "memory.limit_in_bytes").read_text() == str(MEMORY_BYTES)
    assert group.entering()[-3:] == [str(cpu / "cgroup.procs"), str(memory / "cgroup.procs"), "--"]
    (memory / "memory.max_usage_in_bytes").write_text("12345\n")
    assert group.peak_bytes() == 12345


def test_a_control_group_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/own\n")
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "own").mkdir()
    group = make("g", tmp_path, tmp_path / "self")
    assert group is not None
    assert (tmp_path / "own" / "g" / "cpu.max").read_text() == "25000 100000"
    assert (tmp_path / "own" / "g" / "memory.max").read_text() == str(MEMORY_BYTES)


def test_where_groups_cannot_be_made_none_is_left(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("5:cpu:/\n4:memory:/\n")
    (tmp_path / "cpu").mkdir()  # but no memory
    assert make("g", tmp_path, tmp_path / "self") is None
    assert not (tmp_path / "cpu" / "g").exists()
