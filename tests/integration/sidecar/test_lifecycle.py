"""From start to drain: snapshots, the disk, outages of the API, SIGTERM, mistakes in the configuration."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__, build
from sidecar.registry.cache import SnapshotCache
from tests.support.proxy.sidecar import (
    CODE,
    NAMESPACE,
    Address,
    Peer,
    Request,
    Sidecar,
    Stage,
    network,
    receive,
    receive_all,
    receive_until,
)
from tests.support.proxy.sidecar import stage as open_stage
from tests.support.waiting import until
from tests.support.wire.answer_server import AnswerServer, Response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stage]:
    """A sidecar that the test may end."""
    with open_stage(tmp_path) as found:
        yield found


# Snapshots.


def test_a_new_snapshot_moves_traffic_without_closing_a_connection(stage: Stage) -> None:
    old, new = stage.backend("moving-old"), stage.backend("moving-new")
    connection = stage.publish("moving", old).http()
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"moving-old"
    kept = connection.sock
    stage.publish("moving", new)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"moving-new"
    assert connection.sock is kept
    connection.close()


def test_a_request_under_way_outlives_its_endpoint_and_its_service(stage: Stage) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def wait(peer: Peer, request: Request) -> None:
        asked.set()
        assert go_on.wait(60)
        peer.answer(200, b"done")

    backend = stage.backend("leaving-1")
    backend.behaviours["/"] = wait
    connection = stage.publish("leaving", backend).http()
    connection.request("GET", "/")
    assert asked.wait(60)
    stage.publish("leaving")
    go_on.set()
    assert connection.getresponse().read() == b"done"
    connection.close()


def test_a_service_that_goes_is_not_listened_for(stage: Stage) -> None:
    address = stage.publish("going", stage.backend("going-1"))
    assert address.get()[0] == 200
    stage.withdraw("going")
    until(lambda: stage.sidecar.cluster("going") is None, 5, "the service to go")
    with pytest.raises(ConnectionRefusedError):
        address.get()


def test_the_protocol_of_a_service_may_change(stage: Stage) -> None:
    backend = stage.backend("changing-1")
    address = stage.publish("changing", backend)
    assert address.get()[0] == 200
    backend.raw = lambda connection: connection.sendall(b"220 hello")
    stage.publish("changing", backend, protocol="tcp")
    with address.socket() as client:
        assert receive_all(client) == b"220 hello"
    backend.raw = None
    stage.publish("changing", backend)
    assert address.get()[0] == 200


def test_changes_come_as_deltas_and_nothing_as_304(stage: Stage) -> None:
    deltas = stage.api.deltas
    stage.publish("delta", stage.backend("delta-1"))
    assert stage.api.deltas > deltas
    until(lambda: "if-none-match" in stage.api.headers[-1], 5, "a conditional request")
    fields = stage.api.headers[-1]
    assert fields["authorization"].startswith("AWS4-HMAC-SHA256 Credential=test/")
    assert "/us-east-1/execute-api/aws4_request" in fields["authorization"]
    assert fields["accept-encoding"] == "gzip"


def test_names_are_written_into_the_hosts_file(stage: Stage) -> None:
    address = stage.publish("named", stage.backend("named-1"))
    lines = until(
        lambda: [line for line in stage.hosts.read_text().splitlines() if "named " in f"{line} "], 5, "a line"
    )
    assert f"{address.host} named named.{NAMESPACE}" in lines
    assert stage.hosts.read_text().startswith("127.0.0.1 localhost\n")


def test_an_outage_of_the_api_changes_nothing(stage: Stage) -> None:
    backend = stage.backend("steady-1")
    address = stage.publish("steady", backend)
    polls = len(stage.api.headers)
    stage.api.away = True
    try:
        until(lambda: len(stage.api.headers) > polls + 1, 5, "polls that fail")
        assert address.get() == (200, b"steady-1")
        until(lambda: stage.sidecar.page("/stats")[1]["polls_failed_in_a_row"] > 0, 5, "the failures to be counted")
        assert stage.sidecar.page("/ready")[0] == 200
    finally:
        stage.api.away = False
    stage.publish("steady", stage.backend("steady-2"))
    assert address.get() == (200, b"steady-2")


def test_admin_pages_are_there(stage: Stage) -> None:
    for path in ("/", "/ready", "/live", "/clusters", "/stats", "/config"):
        assert stage.sidecar.page(path)[0] == 200
    assert stage.sidecar.page("/nothing")[0] == 404
    config = stage.sidecar.page("/config")[1]
    assert config["namespace"] == NAMESPACE
    assert f"{stage.prefix}.0.1:15001" in config["listening"]


def test_nothing_is_left_under_way(stage: Stage) -> None:
    """Counts of work must come back to nothing, or a drain would wait for what is not there."""
    address = stage.publish("idle", stage.backend("idle-1"))
    assert address.get()[0] == 200
    until(lambda: stage.sidecar.page("/stats")[1]["work"] == 0, 10, "all work to end")
    for cluster in stage.sidecar.page("/clusters")[1]["clusters"]:
        assert (cluster["active_requests"], cluster["pending_requests"]) == (0, 0)
        assert all(endpoint["active_requests"] == 0 for endpoint in cluster["endpoints"])


# The disk.


def test_a_restart_needs_no_api(own: Stage) -> None:
    backend = own.backend("cached-1")
    address = own.publish("cached", backend)
    until(lambda: b"cached-1" in own.cache.read_bytes(), 5, "the snapshot on disk")
    assert own.sidecar.stop() == 0
    own.api.away = True
    own.start().wait_ready()
    assert own.sidecar.page("/clusters")[1]["source"] == "disk"
    assert address.get() == (200, b"cached-1")
    own.api.away = False
    own.publish("cached", own.backend("cached-2"))
    assert address.get() == (200, b"cached-2")
    assert own.sidecar.page("/clusters")[1]["source"] == "api"


def test_a_broken_cache_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_bytes(b'{"schema": 1, "names')
    with open_stage(tmp_path) as found:
        assert found.publish("fresh", found.backend("fresh-1")).get() == (200, b"fresh-1")
        until(lambda: SnapshotCache(str(found.cache)).load(NAMESPACE), 10, "a cache that can be read")
        assert "is ignored" in found.sidecar.log.read_text()


def test_a_sidecar_without_any_snapshot_is_not_ready(tmp_path: Path) -> None:
    with open_stage(tmp_path) as found:
        found.sidecar.stop()
        found.cache.unlink()
        found.api.away = True
        found.start()
        until(lambda: found.sidecar.log.read_text().count('"started"') == 2, 10, "the sidecar to start")
        status, page = found.sidecar.page("/ready")
        assert (status, page["inbound"], page["snapshot"]) == (503, True, False)
        assert found.sidecar.page("/live")[0] == 200
        found.api.away = False
        found.sidecar.wait_ready()


# The end.


def test_a_drain_finishes_what_is_under_way(own: Stage) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def wait(peer: Peer, request: Request) -> None:
        asked.set()
        assert go_on.wait(60)
        peer.answer(200, b"finished")

    backend = own.backend("draining-1")
    backend.behaviours["/wait"] = wait
    address = own.publish("draining", backend)
    slow, idle = address.http(), address.http()
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"draining-1"
    slow.request("GET", "/wait")
    assert asked.wait(60)
    own.sidecar.signal()
    until(lambda: own.sidecar.page("/ready")[0] == 503, 5, "readiness to go")
    idle.request("GET", "/")
    response = idle.getresponse()
    assert (response.read(), response.getheader("connection")) == (b"draining-1", "close")
    assert address.get() == (200, b"draining-1"), "who has not heard yet is still served"
    go_on.set()
    response = slow.getresponse()
    assert (response.read(), response.getheader("connection")) == (b"finished", "close")
    assert own.sidecar.process.wait(60) == 0
    slow.close()
    idle.close()


def test_a_drain_serves_callers_for_as_long_as_they_come(own: Stage) -> None:
    """Fast requests are hardly ever under way at the moment in which the drain looks."""
    own.backend("app-1", own.environment["TRAMO_APP_ADDRESS"], 8080)
    app = own.address(15100)
    until(lambda: app.get() == (200, b"app-1"), 5, "the app to be reached")
    own.sidecar.signal()
    until(lambda: own.sidecar.page("/ready")[0] == 503, 5, "readiness to go")
    for _ in range(20):
        assert app.get() == (200, b"app-1")
        time.sleep(0.15)  # the callers' pace
    assert own.sidecar.process.wait(60) == 0


def test_a_drain_that_was_asked_for_by_post_ends_with_sigterm(own: Stage) -> None:
    address = own.publish("drained", own.backend("drained-1"))
    host, _, port = own.environment["TRAMO_ADMIN"].rpartition(":")
    assert Address(host, int(port)).get("/drain", "POST")[0] == 200
    assert own.sidecar.page("/ready")[0] == 503
    assert address.get() == (200, b"drained-1"), "who has not heard yet is still served"
    assert own.sidecar.stop() == 0


def test_a_drain_ends_at_its_time(tmp_path: Path) -> None:
    def stay(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        receive_all(connection)

    with open_stage(tmp_path, TRAMO_DRAIN_SECONDS="0.5") as found:
        backend = found.backend("stuck-1")
        backend.raw = stay
        with found.publish("stuck", backend, protocol="tcp", port=5432).socket() as client:
            assert receive(client, 5) == b"hello"
            assert found.sidecar.stop() == 0
            assert "cut 1 requests or tunnels" in found.sidecar.log.read_text()


def test_a_log_is_json_lines(own: Stage) -> None:
    own.sidecar.stop()
    lines = [json.loads(line) for line in own.sidecar.log.read_text().splitlines()]
    messages = [line["message"] for line in lines if line["logger"] == "tramo"]
    assert messages == ["started", "draining", "stopped"]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


# Mistakes.


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"TRAMO_NAMESPACE": ""}, "TRAMO_NAMESPACE is not set"),
        ({"AWS_REGION": ""}, "AWS_REGION is not set"),
        ({"TRAMO_API_URL": "api.example"}, "TRAMO_API_URL is 'api.example'"),
        ({"TRAMO_INBOUND": "orders"}, "TRAMO_INBOUND has 'orders'"),
        ({"TRAMO_ADMIN": "127.0.0.1"}, "TRAMO_ADMIN is '127.0.0.1'"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    environment = {"TRAMO_NAMESPACE": "x", "TRAMO_API_URL": "http://127.0.0.1:1", "TRAMO_HOSTS_FILE": "off"}
    sidecar = Sidecar(environment | changes, tmp_path / "log")
    try:
        assert sidecar.process.wait(60) == 2
        assert says in sidecar.log.read_text()
        assert "Traceback" not in sidecar.log.read_text()
    finally:
        sidecar.stop()


def test_namespace_and_mesh_are_the_labels_and_what_differs_from_the_label_is_named(tmp_path: Path) -> None:
    services = [{"portName": "app"}, {"portName": "raw"}, {"portName": "more"}]
    label = {"namespace": NAMESPACE, "mesh": "blue", "services": services}
    task = {
        "TaskARN": "arn:aws:ecs:eu-west-1:123456789012:task/main/a1",
        "Containers": [{"Name": "sidecar"}, {"Name": "app", "Labels": {"tramo.service-connect": json.dumps(label)}}],
    }
    environment = {"TRAMO_NAMESPACE": "", "TRAMO_ACESS_LOG": "json"}
    with (
        AnswerServer(lambda _: Response(body=json.dumps(task).encode())) as metadata,
        open_stage(tmp_path, ECS_CONTAINER_METADATA_URI_V4=metadata.origin, **environment) as stage,
    ):
        config = stage.sidecar.page("/config")[1]
        assert (config["namespace"], config["mesh"]) == (NAMESPACE, "blue")
        found = stage.sidecar.page("/ready")[1]["findings"]
        assert [each["where"] for each in found] == ["TRAMO_ACESS_LOG", "TRAMO_INBOUND, more"]
        assert found[0]["remedy"] == "did you mean TRAMO_ACCESS_LOG?"


def test_the_region_is_that_of_the_tasks_arn_and_labels_are_judged_when_their_container_is_there(
    tmp_path: Path,
) -> None:
    containers: list[dict[str, Any]] = [{"Name": "sidecar", "Labels": {"tramo.sidecar": "true"}}]
    task = {"TaskARN": "arn:aws:ecs:eu-north-1:123456789012:task/main/a1", "Containers": containers}
    with (
        AnswerServer(lambda _: Response(body=json.dumps(task).encode())) as metadata,
        open_stage(tmp_path, AWS_REGION="", ECS_CONTAINER_METADATA_URI_V4=metadata.origin) as stage,
    ):
        assert stage.sidecar.page("/config")[1]["region"] == "eu-north-1"
        assert stage.sidecar.page("/ready")[1]["findings"] == []
        containers.append({"Name": "app", "Labels": {"tramo.service-conect": "{}"}})
        until(lambda: stage.sidecar.page("/ready")[1]["findings"], 20, "the finding")
        (found,) = stage.sidecar.page("/ready")[1]["findings"]
        assert (found["code"], found["where"]) == ("TRM0310", "container app, label tramo.service-conect")
        assert found["remedy"] == "did you mean tramo.service-connect?"


@pytest.mark.parametrize("taken", ["TRAMO_ADMIN", "TRAMO_FORWARD_PROXY", "ingress"])
def test_an_address_that_is_taken_is_named(tmp_path: Path, taken: str) -> None:
    with network() as prefix, socket.create_server((f"{prefix}.0.9", 15_900)):
        environment = {
            "TRAMO_NAMESPACE": "x",
            "TRAMO_API_URL": "http://127.0.0.1:1",
            "TRAMO_HOSTS_FILE": "off",
            "TRAMO_CACHE_FILE": "off",
            "TRAMO_METRICS": "off",
            "TRAMO_VIP_NETWORK": f"{prefix}.0.0/16",
            "TRAMO_LISTEN_ADDRESS": f"{prefix}.0.9",
            "TRAMO_INBOUND": "app=15900:8080/http" if taken == "ingress" else "",
            "TRAMO_ADMIN": f"{prefix}.0.1:9901",
            "TRAMO_FORWARD_PROXY": f"{prefix}.0.1:15001",
        }
        if taken != "ingress":
            environment[taken] = f"{prefix}.0.9:15900"
        sidecar = Sidecar(environment, tmp_path / "log")
        try:
            assert sidecar.process.wait(60) == 2
            assert f"{prefix}.0.9:15900" in sidecar.log.read_text()
        finally:
            sidecar.stop()


def test_the_version_and_the_usage() -> None:
    version = f"tramo-sidecar {__version__} ({build.kind()})"
    for arguments, code, says in ((["--version"], 0, version), (["serve"], 2, "usage:")):
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *arguments],
            cwd=CODE,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code
        assert says in done.stdout + done.stderr


def not_bound(page: Any) -> list[str]:
    """What the findings say cannot be bound; that no app listens is found after a minute, and is not asked here."""
    return [each["where"] for each in page["findings"] if each["code"] == "TRM0304"]


def test_an_alias_that_cannot_be_bound_costs_only_itself(stage: Stage) -> None:
    vip = f"{stage.prefix}.0.200"
    with socket.create_server((vip, 80)):
        stage.api.services["squatted"] = {
            "name": "squatted", "protocol": "http", "vip": "127.254.0.200", "revision": stage.api.revision + 1,
            "aliases": [{"dns_name": "squatted", "port": 80}, {"dns_name": "squatted", "port": 81}],
            "policy": {}, "endpoints": [stage.backend("squatted-1").record()],
        }  # fmt: skip
        stage.publish("beside", stage.backend("beside-1"))
        assert Address(vip, 81).get() == (200, b"squatted-1")
        assert f"{vip}:80" in stage.sidecar.page("/config")[1]["not_listening"]
        status, page = stage.sidecar.page("/ready")
        assert (status, not_bound(page)) == (200, [f"{vip}:80"])
        assert "squatted" not in stage.hosts.read_text(), "no answer is better than that of another process"
        until(lambda: "squatted cannot be called" in stage.sidecar.log.read_text(), 10, "the finding to be logged")
    until(lambda: f"{vip} squatted" in stage.hosts.read_text(), 20, "the address to be tried again")
    assert Address(vip, 80).get() == (200, b"squatted-1")
    assert not_bound(stage.sidecar.page("/ready")[1]) == []


def test_raw_bytes_to_the_admin_port(stage: Stage) -> None:
    host, _, port = stage.environment["TRAMO_ADMIN"].rpartition(":")
    with Address(host, int(port)).socket() as client:
        client.sendall(GET.replace(b"/ ", b"/live ") * 2)
        for _ in range(2):
            assert receive_until(client, b"}\n").startswith(b"HTTP/1.1 200 ")
        client.sendall(b"nonsense\r\n\r\n")
        assert receive_all(client).startswith(b"HTTP/1.1 400 ")
