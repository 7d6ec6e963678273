"""The commands of operators on a running mesh, in a terminal of 80 columns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.test_up import PATIENCE, ROOT, SHOP, Up, up
from tests.support.control_plane.terminal import COLUMNS, run, run_all
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Up, Path]]:
    """The shop with its load, after the first requests."""
    state = tmp_path_factory.mktemp("operators") / "s"
    with up(SHOP, state) as running:
        running.wait_for_steady_services()
        running.rows("run", "load", "--wait", str(PATIENCE))

        def is_busy() -> bool:
            edges = running.rows("edges")
            return {("load", "web"), ("web", "orders")} <= {(each["source"], each["destination"]) for each in edges}

        until(is_busy, PATIENCE, "calls on the way to orders")
        yield running, state
        running.command("down")
        running.wait_for_end()


def shown(shop: tuple[Up, Path], *arguments: str, code: int = 0) -> list[str]:
    """Run a command in a terminal; its lines, none of which is cut or wrapped."""
    _, state = shop
    found, text = run(state, *arguments)
    assert found == code, text
    lines = text.splitlines()
    assert [line for line in lines if len(line) > COLUMNS] == []
    return lines


def test_a_healthy_mesh_has_nothing_wrong(shop: tuple[Up, Path]) -> None:
    assert shown(shop, "check")[-1] == "Status check results are √"


COMMANDS: dict[tuple[str, ...], list[str]] = {
    ("stat",): ["NAME", "SUCCESS", "RPS", "LATENCY_P99", "orders", "web"],
    ("stat", "--outbound", "--time-window", "30s"): ["SERVICE", "TIMEOUTS", "RETRIES", "orders"],
    ("edges", "--to", "orders"): ["SRC", "web", "orders"],
    ("edges",): ["SRC", "DST", "ZONE_LOCAL", "load", "web", "orders"],
    ("proxies",): ["SNAPSHOT", "SYNCED", "VERSION", "orders"],
    ("why", "web", "orders"): ["✓ name", "✓ endpoints", "weight 100", "web can call orders."],
    ("describe", "orders"): ["Name:", "orders", "Policy:", "ready"],
    ("policy", "get", "orders"): ["{}"],
    ("top", "orders", "--time", "25"): ["SOURCE", "METHOD", "GET", "SUCCESS"],
    ("tap", "orders", "--to", "stock", "--time", "25", "--most", "1"): [":method=GET", "dst_res=svc/stock"],
    ("logs", "orders", "--container", "sidecar"): ["==>", "sidecar"],
    ("check", "--proxy"): ["control-plane", "data-plane", "Status check results are √"],
    ("analyze", str(SHOP)): ["No validation issues found"],
    ("services",): ["PROTOCOL", "orders", "stock"],
    ("endpoints", "orders"): ["ADDRESS", "ready"],
    ("tasks",): ["GROUP", "RUNNING"],
    ("status",): ["SERVICES", "steady"],
    ("redrive", "--dry-run"): ["OUTCOME"],
    ("cost", "--sidecars", "10"): ["per sidecar"],
    ("diff", "--save", "{folder}/before.json"): ["kept 1 namespaces"],
    ("bug-report", "{folder}/report.tar.gz"): ["Secrets were removed"],
    ("inject", str(SHOP / "stock.json"), "--image", "x", "--api-url", "https://x"): ["tramo.gate"],
    ("completion", "bash"): ["complete -o default"],
}
"""What each command shows on a terminal."""
AT_ONCE = 3
FOREIGN = ("logs", "tap", "inject", "completion")
"""Commands that show the lines of others, requests, or files: these are not cut to a width."""


@pytest.fixture(scope="module")
def screens(shop: tuple[Up, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[int, str]]:
    """What all the commands show: in a few processes at once, since most of their time is waiting."""
    _, state = shop
    folder = str(tmp_path_factory.mktemp("written"))
    groups = [list(COMMANDS)[number::AT_ONCE] for number in range(AT_ONCE)]

    def shown(group: list[tuple[str, ...]]) -> list[tuple[int, str]]:
        return run_all(state, [tuple(each.format(folder=folder) for each in command) for command in group])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(shown, groups))
    return {
        name: each for group, texts in zip(groups, found, strict=True) for name, each in zip(group, texts, strict=True)
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_fits_a_terminal(
    screens: dict[tuple[str, ...], tuple[int, str]], command: tuple[str, ...]
) -> None:
    code, text = screens[command]
    assert code == 0, text
    assert [word for word in COMMANDS[command] if word not in text] == [], text
    if command[0] not in FOREIGN:
        assert [line for line in text.splitlines() if len(line) > COLUMNS] == []


def test_the_beginning_of_an_id_names_a_sidecar(shop: tuple[Up, Path]) -> None:
    running, _ = shop
    task = next(each["short"] for each in running.rows("proxies") if each["name"] == "orders")
    lines = shown(shop, "proxy", task, "endpoints", "--to", "stock")
    assert lines[0].split()[:2] == ["ENDPOINT", "STATUS"]
    assert lines[1].split()[1] == "ready"
    assert lines[1].split()[-1] == "stock"
    assert any("listening" in line for line in shown(shop, "proxy", task, "listeners"))


def test_a_tap_shows_heads_and_no_query(shop: tuple[Up, Path]) -> None:
    running, _ = shop
    done = running.command("tap", "orders", "--to", "stock", "--time", "10", "--most", "3", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 3, done.stderr
    assert {(each["direction"], each["upstream_cluster"]) for each in found} == {("outbound", "stock")}
    assert all("?" not in each["path"] and "headers" not in each for each in found)


def test_a_policy_is_set_shown_and_removed(shop: tuple[Up, Path], tmp_path: Path) -> None:
    running, _ = shop
    path = tmp_path / "policy.json"
    path.write_text('{"timeouts": {"request_seconds": 9}}')
    assert running.command("policy", "validate", str(path)).returncode == 0
    assert running.command("policy", "set", "stock", str(path)).returncode == 0
    assert '"request_seconds": 9' in running.command("policy", "get", "stock").stdout
    assert "request_seconds" in running.command("describe", "stock").stdout
    stale = running.command("policy", "set", "stock", str(path), "--if-revision", "0")
    assert (stale.returncode, "412" in stale.stderr) == (1, True)
    assert running.command("policy", "delete", "stock").returncode == 0
    path.write_text('{"retry": {}}')
    assert running.command("policy", "validate", str(path)).returncode == 65


def test_an_unknown_service_gets_a_suggestion(shop: tuple[Up, Path]) -> None:
    running, _ = shop
    done = running.command("describe", "ordres")
    assert (done.returncode, done.stderr) == (1, "tramo: there is no service ordres; did you mean orders?\n")


def test_the_commands_run_as_modules() -> None:
    done = subprocess.run([sys.executable, "-m", "infra.cli.main", "completion", "bash"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0
    assert b"edges" in done.stdout
