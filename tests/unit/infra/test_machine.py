from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from infra.local.machine import read_directory
from infra.local.settings import LocalError, Settings
from infra.local.up import machine


def write(directory: Path, **files: Any) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / f"{name}.json").write_text(text)
    return directory


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    write(tmp_path / "releases", later={"family": "later"})
    write(
        tmp_path, services={"cluster": "shop", "services": [{"serviceName": "s"}]}, b={"family": "b"}, a={"family": "a"}
    )
    assert read_directory(tmp_path) == ("shop", [{"family": "a"}, {"family": "b"}], [{"serviceName": "s"}])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"services\.json"),
        ({"services": "{"}, r"services\.json: Expecting"),
        ({"services": []}, "not a JSON object"),
        ({"services": {"cluster": "shop"}}, "must be a list"),
        ({"services": {"services": []}, "a": "[1]"}, r"a\.json: not a JSON object"),
    ],
)
def test_a_folder_with_a_mistake(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        read_directory(write(tmp_path, **files))


def bring_up(settings: Settings) -> None:
    async def main() -> None:
        async with machine(settings):
            pytest.fail("it must not come up")

    asyncio.run(main())


def test_a_state_directory_with_a_name_too_long_for_a_socket(tmp_path: Path) -> None:
    write(tmp_path, services={"services": []})
    with pytest.raises(LocalError, match="TRAMO_STATE_DIR"):
        bring_up(Settings(tmp_path / ("x" * 100), tmp_path))


def test_only_one_at_a_time(tmp_path: Path) -> None:
    write(tmp_path, services={"services": []})
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "control.sock"))
        other.listen()
        with pytest.raises(LocalError, match="up already"):
            bring_up(Settings(tmp_path, tmp_path))
