from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from infra.local.namespace import HOSTS, usable, wrap


def test_the_wrapper_keeps_one_process() -> None:
    as_root = wrap(["app", "-x"], Path("/t/hosts"), root=True)
    assert as_root[:2] == ["unshare", "--mount"]
    assert as_root[-3:] == ["/t/hosts", "app", "-x"]
    assert 'exec "$@"' in as_root[-4]
    assert wrap(["app"], Path("/t/hosts"), root=False)[:3] == ["unshare", "--user", "--map-root-user"]


@pytest.mark.parametrize("root", [True, False])
def test_a_process_sees_its_own_names_as_they_change(tmp_path: Path, root: bool) -> None:
    if not usable(tmp_path) or (root and os.geteuid()):
        pytest.skip("this machine allows no mount namespaces")
    before = HOSTS.read_bytes()
    hosts = tmp_path / "hosts"
    hosts.write_text("127.9.0.2 orders\n")
    command = ["sh", "-c", "getent hosts orders; read _; getent hosts orders stock"]
    with subprocess.Popen(
        wrap(command, hosts, root=root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["127.9.0.2", "orders"]
        with hosts.open("r+") as file:  # in place, as the sidecar writes
            file.write("127.9.0.3 orders\n127.9.0.4 stock\n")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.read().split() == ["127.9.0.3", "orders", "127.9.0.4", "stock"]
    assert HOSTS.read_bytes() == before


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    usable(tmp_path)
    assert list(tmp_path.iterdir()) == []
