from __future__ import annotations

from pathlib import Path

from infra.local.definition import Container
from infra.local.environment import Endpoints, Place, command, environment

ENDPOINTS = Endpoints(aws="http://aws", ecs="http://ecs", api="http://api/live", metadata="http://metadata")


def container(*, sidecar: bool = False, **variables: str) -> Container:
    return Container(
        name="c",
        image="i",
        command=("run",),
        environment=variables,
        labels={"tramo.sidecar": "true"} if sidecar else {},
        essential=True,
        depends_on=(),
        health_check=None,
        stop_timeout=None,
        start_timeout=None,
        cpu=0,
        memory=None,
    )


def build(of: Container, *, private_hosts: bool = True, overrides: dict[str, str] | None = None) -> dict[str, str]:
    place = Place(9, Path("/state/t"), Path("/state/t/hosts"), private_hosts)
    return environment(
        of,
        place,
        ENDPOINTS,
        runtime_id="t-1",
        region="us-east-1",
        overrides=overrides or {},
        sidecar_environment={"TRAMO_METRICS_SECONDS": "5"},
    )


def test_an_app_gets_what_ecs_sets_and_where_to_listen() -> None:
    found = build(container(VERSION="1"))
    assert found["ECS_CONTAINER_METADATA_URI_V4"] == "http://metadata/v4/t-1"
    assert (found["AWS_REGION"], found["AWS_ENDPOINT_URL"]) == ("us-east-1", "http://aws")
    assert found["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://metadata/v2/credentials/t-1"
    assert "AWS_ACCESS_KEY_ID" not in found, "the SDKs would take it before the role of the task"
    assert (found["HOST"], found["VERSION"]) == ("127.9.0.1", "1")
    assert not [name for name in found if name.startswith("TRAMO_")]
    assert "HTTP_PROXY" not in found


def test_without_a_hosts_file_of_its_own_an_app_gets_the_forward_proxy() -> None:
    found = build(container(), private_hosts=False)
    assert found["HTTP_PROXY"] == found["http_proxy"] == "http://127.9.0.1:15001"
    assert "127.9.0.1" in found["NO_PROXY"]


def test_the_sidecar_lives_on_the_network_of_its_task() -> None:
    given = {"TRAMO_NAMESPACE": "shop.local", "TRAMO_API_URL": "https://elsewhere", "TRAMO_METRICS_SECONDS": "60"}
    found = build(container(sidecar=True, **given))
    assert found["TRAMO_NAMESPACE"] == "shop.local"
    assert found["TRAMO_API_URL"] == "http://api/live"
    assert found["TRAMO_METRICS_SECONDS"] == "5"
    assert found["TRAMO_LISTEN_ADDRESS"] == found["TRAMO_APP_ADDRESS"] == "127.9.0.1"
    assert found["TRAMO_VIP_NETWORK"] == "127.9.0.0/16"
    assert (found["TRAMO_ADMIN"], found["TRAMO_FORWARD_PROXY"]) == ("127.9.0.1:9901", "127.9.0.1:15001")
    assert found["TRAMO_HOSTS_FILE"] == "/state/t/hosts"
    assert "HOST" not in found


def test_overrides_win_over_the_definition() -> None:
    assert build(container(VERSION="1"), overrides={"VERSION": "2"})["VERSION"] == "2"


def test_commands() -> None:
    assert command(container(), ("/opt/tramo-sidecar",)) == ("run",)
    assert command(container(sidecar=True), ("/opt/tramo-sidecar",)) == ("/opt/tramo-sidecar",)
