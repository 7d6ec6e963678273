from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from infra.local.settings import LocalError, Settings
from infra.local.up import machine


def bring_up(settings: Settings) -> None:
    async def main() -> None:
        async with machine(settings):
            pytest.fail("it must not come up")

    asyncio.run(main())


def test_a_state_directory_with_a_name_too_long_for_a_socket(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text('{"services": []}')
    with pytest.raises(LocalError, match="TRAMO_STATE_DIR"):
        bring_up(Settings(tmp_path / ("x" * 100), tmp_path))


def test_only_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text('{"services": []}')
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "control.sock"))
        other.listen()
        with pytest.raises(LocalError, match="up already"):
            bring_up(Settings(tmp_path, tmp_path))


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "services.json").write_text('{"services": []}')
    with pytest.raises(LocalError, match="choose another --state-dir"):
        bring_up(Settings(Path("/proc/nope"), tmp_path))
