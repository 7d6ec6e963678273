"""`tramo why`: each step of a call, and the sentence that says where it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any, cast

import pytest

from infra.cli.why import MOST_ENDPOINTS, Step, explain
from infra.client import questions
from infra.client.api import ApiError, MeshApi
from tests.support.control_plane.terminal import COLUMNS

TASK = "ab" * 16
ENDPOINT = {
    "id": "e1/http",
    "address": "10.0.1.5",
    "port": 15100,
    "state": "ready",
    "ejected": False,
    "health_check": None,
    "same_zone": True,
}
CLUSTER = {"active_requests": 1, "pending_requests": 0, "overflows": 0, "endpoints": [ENDPOINT]}
CALLS = {"name": "orders", "ok": 10, "failed": 0, "flags": {}}
SERVICE = {
    "name": "orders",
    "protocol": "http",
    "vip": "127.254.0.2",
    "aliases": [{"dns_name": "orders", "port": 80}],
    "endpoints": {"ready": 1},
}


class Api:
    """One namespace with the services web and orders, and a sidecar of web."""

    def __init__(self, **changes: Any) -> None:
        self._service = {**SERVICE, **changes.get("service", {})}
        self._pages: dict[str, Any] = {
            "clusters": {"clusters": [{**CLUSTER, **changes.get("cluster", {})}]},
            "config": {"listening": [], "not_listening": changes.get("not_listening", {})},
            "stat": {"client": [{**CALLS, **changes.get("calls", {})}]},
        }
        if changes.get("unknown"):
            self._pages["clusters"] = {"clusters": []}
        self._silent = changes.get("silent", False)
        self._asked = ""

    def services(self, _: str) -> Iterator[dict[str, Any]]:
        return iter([self._service, {**SERVICE, "name": "web", "aliases": [], "vip": "127.254.0.3"}])

    def service(self, *_: str) -> dict[str, Any]:
        return {"endpoints": [{"id": "e1/http", "zone": "use1-az1", "weight": 100}]}

    def ask(self, _: str, question: dict[str, Any]) -> dict[str, Any]:
        self._asked = question["subject"]
        assert question["service"] == "web", "the caller's sidecars are asked"
        return {"id": "1", "asked": [] if self._silent else [TASK]}

    def task(self, *_: str) -> dict[str, Any]:
        return {"address": "10.0.3.7"}

    def answers(self, *_: str) -> dict[str, Any]:
        return {"answers": [{"task": TASK, "answer": self._pages[self._asked]}], "next": None}


def at_once(_: float) -> None:
    """Pause for no time: the fake answers at the first look."""


def explained(destination: str = "orders", port: int | None = None, **changes: Any) -> tuple[list[str], str]:
    steps, sentence = explain(cast(MeshApi, Api(**changes)), "shop.local", "web", destination, port, pause=at_once)
    return [step.name for step in steps if not step.ok], sentence


def test_a_call_that_works() -> None:
    assert explained() == ([], "web can call orders.")
    assert explained("orders", 80) == ([], "web can call orders.")


@pytest.mark.parametrize(
    ("changes", "failed", "words"),
    [
        ({"service": {"aliases": []}}, "alias", "another service holds them"),
        ({"service": {"endpoints": {"unhealthy": 2}}}, "registry", "2 unhealthy"),
        ({"unknown": True}, "cluster", "its snapshot is stale"),
        ({"not_listening": {"127.254.0.2:80": "Address already in use"}}, "listener", "Address already in use"),
        ({"cluster": {"endpoints": [{**ENDPOINT, "ejected": True}]}}, "endpoints", "1 ejected"),
        ({"cluster": {"endpoints": []}}, "endpoints", "none"),
        ({"calls": {"failed": 5, "flags": {"UF": 5}}}, "calls", "5 UF (no connection to an endpoint could be made)"),
        ({"calls": {"failed": 5}}, "calls", "5 of 15 failed in the last minute: answered by the app"),
        ({"silent": True}, "sidecar", "it has no living task"),
    ],
)
def test_the_sentence_names_the_step_that_fails(changes: dict[str, Any], failed: str, words: str) -> None:
    found, sentence = explained(**changes)
    assert found == [failed]
    assert words in sentence


DROPPED = {**ENDPOINT, "ejected": True, "connect_failure": "timed out"}
REFUSED = {**ENDPOINT, "ejected": True, "connect_failure": "[Errno 111] Connect call failed ('10.0.1.5', 15100)"}


def test_endpoints_that_time_out_are_a_matter_of_the_network_with_ports_and_addresses() -> None:
    found, sentence = explained(cluster={"endpoints": [DROPPED]}, calls={"failed": 5, "flags": {"UF": 5}})
    assert found == ["network", "endpoints", "calls"]
    assert sentence == (
        "web cannot call orders: network, connections from 10.0.3.7 to 10.0.1.5:15100 time out; a security group or "
        "network ACL does not let TCP 15100 in, or the task is gone: see docs/network.md#a-connection-that-times-out "
        "and the rules of 10.0.1.5."
    )


def test_endpoints_that_refuse_are_not() -> None:
    found, sentence = explained(cluster={"endpoints": [REFUSED]})
    assert (found, "security group" in sentence) == (["endpoints"], False)


def test_a_task_that_stops_may_time_out() -> None:
    assert explained(cluster={"endpoints": [ENDPOINT, {**DROPPED, "id": "e2/http", "state": "draining"}]})[0] == []


def test_endpoints_of_which_some_time_out_are_reached_in_part() -> None:
    other = {**DROPPED, "id": "e2/http", "address": "10.0.2.7"}
    found, sentence = explained(cluster={"endpoints": [ENDPOINT, other]})
    assert found == ["network"]
    assert sentence.startswith(
        "web does not reach all tasks of orders: connections from 10.0.3.7 to 10.0.2.7:15100 time out;"
    )


STAND_IN = """
aws() { case "$*" in *network-interfaces*) printf "sg-1\\tsg-2\\n" ;; *) echo "$*" ;; esac; }
"""


def network_step(address: str, **more: Any) -> Step:
    api = cast(MeshApi, Api(cluster={"endpoints": [{**DROPPED, "address": address}]}))
    steps, _ = explain(api, "shop.local", "web", "orders", None, pause=at_once, **more)
    return next(step for step in steps if step.name == "network")


@pytest.mark.parametrize(
    ("address", "field"),
    [("10.0.1.5", "addresses.private-ip-address"), ("fd00::5", "ipv6-addresses.ipv6-address")],
)
def test_the_command_to_look_with_is_one_for_the_shell_and_fits_the_screen(address: str, field: str) -> None:
    look = network_step(address).look
    lines = look.splitlines()
    assert max(map(len, lines)) + 4 <= COLUMNS
    assert f"Name={field},Values={address}" in look
    done = subprocess.run(["bash", "-c", STAND_IN + look.removeprefix("$ ")], capture_output=True, text=True)
    assert done.stdout == "ec2 describe-security-group-rules --filters Name=group-id,Values=sg-1,sg-2\n"


def test_a_local_mesh_has_no_security_groups() -> None:
    step = network_step("10.0.1.5", in_aws=False)
    assert (step.look, "security group" in step.found) == ("", False)
    assert "a packet filter drops them" in step.found


def test_a_name_that_is_not_there_is_suggested() -> None:
    assert explained("ordres") == (
        ["name"],
        "web cannot call ordres, because nobody in shop.local offers it; did you mean orders?",
    )
    found, sentence = explained("orders", 81)
    assert (found, "orders:81" in sentence) == (["name"], True)


def test_asking_ends_when_the_time_is_over_and_says_who_was_silent() -> None:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    class Silent(Api):
        def ask(self, _: str, question: dict[str, Any]) -> dict[str, Any]:
            return {"id": "1", "asked": ["one", "two"]}

        def answers(self, *_: str) -> dict[str, Any]:
            return {"answers": [{"task": "one", "answer": {}}], "next": None}

    found = questions.ask(cast(MeshApi, Silent()), "n", "stat", seconds=3, clock=lambda: now[0], pause=pause)
    assert (list(found.answers), found.silent, now[0]) == (["one"], ("two",), 3.0)


def endpoints(*found: dict[str, Any]) -> list[str]:
    api = cast(MeshApi, Api(cluster={"endpoints": list(found)}))
    steps, _ = explain(api, "shop.local", "web", "orders", None, pause=at_once)
    return next(step for step in steps if step.name == "endpoints").lines()


def test_an_endpoint_is_shown_with_zone_and_weight_and_who_does_not_call_it() -> None:
    other = {**ENDPOINT, "id": "e2/http", "address": "10.0.2.7", "ejected": True, "health_check": {"state": "failing"}}
    assert endpoints(ENDPOINT, other) == [
        "10.0.1.5:15100, ready, zone use1-az1, weight 100",
        "10.0.2.7:15100, ready, ejected by 1 of 1, fails the checks of 1 of 1, zone unknown, weight 100",
    ]
    lines = endpoints(*({**ENDPOINT, "id": f"e{number}/http"} for number in range(MOST_ENDPOINTS + 3)))
    assert (len(lines), lines[-1]) == (MOST_ENDPOINTS + 1, "and 3 more: -o json has all")


def test_a_question_waits_for_its_turn() -> None:
    now = [0.0]

    class Busy(Api):
        def ask(self, _: str, question: dict[str, Any]) -> dict[str, Any]:
            if now[0] < 5:
                raise ApiError("4 questions are open", 429)
            return {"id": "1", "asked": []}

    def pause(seconds: float) -> None:
        now[0] += seconds

    assert questions.put(cast(MeshApi, Busy()), "n", {}, clock=lambda: now[0], pause=pause)["id"] == "1"
    now[0] = -100.0
    with pytest.raises(ApiError, match="questions are open"):
        questions.put(cast(MeshApi, Busy()), "n", {}, clock=lambda: now[0], pause=pause)
