from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from infra.local.settings import LocalError, Settings, sidecar_command, state_directory


def test_the_state_directory() -> None:
    assert state_directory({"TRAMO_STATE_DIR": "/x", "XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/x")
    assert state_directory({"TRAMO_STATE_DIR": "x"}) == Path.cwd() / "x"
    assert state_directory({"XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/run/user/1/tramo")
    assert state_directory({}).name == f"tramo-{os.getuid()}"


def test_the_control_socket_is_in_it() -> None:
    assert Settings(Path("/s"), Path("/i")).control_socket == Path("/s/control.sock")


def test_the_sidecar_is_this_interpreters_unless_another_is_named() -> None:
    assert sidecar_command({}) == (sys.executable, "-m", "sidecar")
    assert sidecar_command({"TRAMO_SIDECAR": "/bin/sh"}) == ("/bin/sh",)
    with pytest.raises(LocalError, match="TRAMO_SIDECAR=/nowhere"):
        sidecar_command({"TRAMO_SIDECAR": "/nowhere"})
