"""Deployments under load lose nothing. `make deployments` makes twenty in a row."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.rolling.rollout import PROTOCOLS, TASKS, roll

DEPLOYMENTS = 2


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_deployments_in_a_row_lose_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    report = asyncio.run(roll(tmp_path / "r", DEPLOYMENTS, said.append))
    assert report.failed == dict.fromkeys(PROTOCOLS, 0), (report.errors, said)
    assert min(report.tried.values()) > 0
    assert report.tasks == DEPLOYMENTS * TASKS, "every task was replaced each time"
