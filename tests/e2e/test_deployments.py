"""What happens to tasks loses nothing, under load. `make deployments` does more of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.rolling.rollout import PROTOCOLS, TASKS, Count, roll

DEPLOYMENTS = 2
MOST = 4


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_deployments_scale_in_and_an_interruption_lose_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    report = asyncio.run(roll(tmp_path / "r", DEPLOYMENTS, said.append, most=MOST))
    for phase in report.phases:
        assert {name: count.failed for name, count in phase.counts.items()} == dict.fromkeys(PROTOCOLS, 0), (
            phase.name,
            report.errors,
            said,
        )
    assert all(count > Count(0, 0) for count in report.total().values())
    assert report.tasks == DEPLOYMENTS * TASKS + (MOST - TASKS) + 1
