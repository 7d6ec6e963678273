import os
from pathlib import Path

from infra.local.settings import Settings, state_directory


def test_the_state_directory() -> None:
    assert state_directory({"TRAMO_STATE_DIR": "/x", "XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/x")
    assert state_directory({"TRAMO_STATE_DIR": "x"}) == Path.cwd() / "x"
    assert state_directory({"XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/run/user/1/tramo")
    assert state_directory({}).name == f"tramo-{os.getuid()}"


def test_the_control_socket_is_in_it() -> None:
    assert Settings(Path("/s"), Path("/i")).control_socket == Path("/s/control.sock")
