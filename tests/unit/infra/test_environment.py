from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local import netns
from infra.local.definition import Container
from infra.local.environment import Endpoints, Place, command, environment
from infra.local.netns import Namespace

ENDPOINTS = Endpoints(
    aws="http://aws", cloudwatch="http://metrics", ecs="http://ecs", api="http://api/live", metadata="http://metadata"
)


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


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    if reason := netns.missing():
        pytest.skip(reason)
    made = Namespace()
    yield made
    made.close()


def build(
    of: Container,
    *,
    namespace: Namespace | None = None,
    private_hosts: bool = True,
    overrides: dict[str, str] | None = None,
) -> dict[str, str]:
    place = Place("10.64.0.9" if namespace else "127.9.0.1", Path("/state/t"), private_hosts, namespace)
    return environment(
        of,
        place,
        ENDPOINTS,
        runtime_id="t-1",
        region="us-east-1",
        overrides=overrides or {},
        sidecar_environment={"TRAMO_METRICS_SECONDS": "5"},
    )


def test_in_a_network_namespace_a_container_gets_what_ecs_sets_and_nothing_more(namespace: Namespace) -> None:
    app = build(container(VERSION="1"), namespace=namespace)
    assert app["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] == "/v2/credentials/t-1"
    assert app["HOSTNAME"] == "ip-10-64-0-9.ec2.internal"
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in app, "the SDKs would take it before the path"
    assert not {"HOST", "HTTP_PROXY"} & set(app)
    sidecar = build(container(sidecar=True), namespace=namespace)
    ours = {"TRAMO_API_URL", "TRAMO_CACHE_FILE", "TRAMO_METRICS_SECONDS"}
    assert {name for name in sidecar if name.startswith("TRAMO_")} == ours


def test_in_a_network_namespace_the_forward_proxy_is_on_localhost(namespace: Namespace) -> None:
    app = build(container(), namespace=namespace, private_hosts=False)
    assert app["HTTP_PROXY"] == "http://127.0.0.1:15001"
    assert set(app["NO_PROXY"].split(",")) == {"127.0.0.1", "localhost", "aws", "metrics", "ecs", "api", "metadata"}
    assert build(container(sidecar=True), namespace=namespace, private_hosts=False)["TRAMO_HOSTS_FILE"]


def test_on_loopback_an_app_is_also_given_where_to_listen() -> None:
    found = build(container(VERSION="1"))
    assert found["ECS_CONTAINER_METADATA_URI_V4"] == "http://metadata/v4/t-1"
    assert (found["AWS_REGION"], found["AWS_ENDPOINT_URL"]) == ("us-east-1", "http://aws")
    assert found["AWS_ENDPOINT_URL_CLOUDWATCH"] == "http://metrics"
    assert found["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://metadata/v2/credentials/t-1"
    assert "AWS_ACCESS_KEY_ID" not in found, "the SDKs would take it before the role of the task"
    assert (found["HOST"], found["VERSION"]) == ("127.9.0.1", "1")
    assert not [name for name in found if name.startswith("TRAMO_")]
    assert "HTTP_PROXY" not in found


def test_on_loopback_the_gate_knows_where_the_sidecar_is() -> None:
    found = build(replace(container(), labels={"tramo.gate": "true"}))
    assert found["TRAMO_ADMIN"] == "127.9.0.1:9901"


def test_without_a_hosts_file_of_its_own_an_app_gets_the_forward_proxy() -> None:
    found = build(container(), private_hosts=False)
    assert found["HTTP_PROXY"] == found["http_proxy"] == "http://127.9.0.1:15001"
    assert "127.9.0.1" in found["NO_PROXY"]


def test_on_loopback_the_sidecar_lives_on_the_network_of_its_task() -> None:
    given = {"TRAMO_NAMESPACE": "shop.local", "TRAMO_API_URL": "https://elsewhere", "TRAMO_METRICS_SECONDS": "60"}
    found = build(container(sidecar=True, **given))
    assert found["TRAMO_NAMESPACE"] == "shop.local"
    assert found["TRAMO_API_URL"] == "http://api/live"
    assert found["TRAMO_METRICS_SECONDS"] == "5"
    assert found["TRAMO_LISTEN_ADDRESS"] == found["TRAMO_APP_ADDRESS"] == "127.9.0.1"
    assert found["TRAMO_VIP_NETWORK"] == "127.9.0.0/16"
    assert (found["TRAMO_ADMIN"], found["TRAMO_FORWARD_PROXY"]) == ("127.9.0.1:9901", "127.9.0.1:15001")
    assert "HOST" not in found


def test_overrides_win_over_the_definition() -> None:
    assert build(container(VERSION="1"), overrides={"VERSION": "2"})["VERSION"] == "2"


def test_commands() -> None:
    assert command(container(), ("/opt/tramo-sidecar",)) == ("run",)
    assert command(container(sidecar=True), ("/opt/tramo-sidecar",)) == ("/opt/tramo-sidecar",)


def test_a_sidecar_is_told_where_the_feed_is_and_an_app_is_not(tmp_path: Path) -> None:
    endpoints = replace(ENDPOINTS, feed="http://feed", feed_table="the-feed")
    for sidecar, expected in ((True, "the-feed"), (False, None)):
        found = environment(
            container(sidecar=sidecar),
            Place("10.0.0.1", tmp_path, private_hosts=True),
            endpoints,
            runtime_id="r",
            region="eu-west-1",
            overrides={},
            sidecar_environment={},
        )
        assert found.get("TRAMO_FEED_TABLE") == expected
        assert (found.get("AWS_ENDPOINT_URL_DYNAMODB") == "http://feed") is sidecar
