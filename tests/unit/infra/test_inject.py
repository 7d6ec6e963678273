"""Finished task definitions from real documents, and the mistakes in them."""

from __future__ import annotations

import io
import json
import os
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.cli.inject import inject_file
from infra.cli.main import main
from infra.inject import PROXY_PROPERTIES, Settings, inject
from infra.inject_rules import InjectError
from infra.local import definition as local
from infra.local.settings import LocalError
from registry.domain.definition import parse
from sidecar import config as configuration

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "infra" / "examples" / "shop"
DEFINITIONS = [path for path in sorted(SHOP.rglob("*.json")) if path.name != "services.json"]
SETTINGS = Settings("<your registry>/tramo-sidecar", "<ApiUrl>", feed_table="<FeedTableName>")
REAL = Settings("example.com/tramo-sidecar:1", "https://a1.execute-api.eu-west-1.amazonaws.com/live")
BLOCK = {
    "enabled": True,
    "namespace": "shop.local",
    "services": [
        {"portName": "web", "discoveryName": "web", "clientAliases": [{"port": 80, "dnsName": "web"}]},
        {"portName": "calls", "ingressPortOverride": 16000, "clientAliases": [{"port": 50051}]},
    ],
    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/service-connect"}},
}
LOGS: dict[str, Any] = {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1"}}


def task(**changes: Any) -> dict[str, Any]:
    """A task definition as one finds them: an app, a container that prepares its data, a log router."""
    return {
        "family": "web",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "512",
        "memory": "1024",
        "containerDefinitions": [
            {
                "name": "router",
                "image": "fluent-bit",
                "command": ["fluent-bit"],
                "essential": True,
                "firelensConfiguration": {"type": "fluentbit"},
            },
            {"name": "migrate", "image": "web", "essential": False, "command": ["migrate"]},
            {
                "name": "web",
                "image": "web",
                "command": ["serve"],
                "essential": True,
                "portMappings": [
                    {"name": "web", "containerPort": 8080, "appProtocol": "http"},
                    {"name": "calls", "containerPort": 9090, "appProtocol": "grpc"},
                ],
                "dependsOn": [{"containerName": "migrate", "condition": "SUCCESS"}],
                "logConfiguration": LOGS,
            },
        ],
        **changes,
    }


def container(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in document["containerDefinitions"] if each["name"] == name]
    return dict(found)


def variables(document: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(document, "sidecar")["environment"]}


def readme(start: str) -> Any:
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.strip().startswith(start)]
    return json.loads(found)


def test_the_readmes_containers_are_what_inject_writes() -> None:
    mapping = json.loads("{" + re.findall(r'`("portMappings": \[.*?\])`', (ROOT / "README.md").read_text())[0] + "}")
    app = {"name": "orders", "image": "orders", "memory": 512, "essential": True, **mapping}
    document = {"family": "orders", "networkMode": "awsvpc", "containerDefinitions": [app]}
    found = inject(document, SETTINGS, readme('{"namespace"'))
    assert found["containerDefinitions"][1:] == readme('[{"name": "sidecar"')
    assert found["containerDefinitions"][0]["dependsOn"] == [{"containerName": "sidecar", "condition": "HEALTHY"}]


def test_a_service_connect_block_becomes_a_label_of_the_sidecar() -> None:
    found = inject(task(), REAL, {"cluster": "shop", "serviceName": "web", "serviceConnectConfiguration": BLOCK})
    label = json.loads(container(found, "sidecar")["dockerLabels"]["tramo.service-connect"])
    assert label == {field: value for field, value in BLOCK.items() if field != "logConfiguration"}
    assert variables(found) == {
        "TRAMO_API_URL": REAL.api_url,
        "TRAMO_INBOUND": "web=15100:8080/http,calls=16000:9090/grpc",
    }
    offer = parse(found)
    assert offer is not None
    assert offer.has_sidecar


def test_a_label_of_the_app_moves_to_the_sidecar_which_can_read_it_there() -> None:
    labelled = task()
    labels = {"team": "shop", "tramo.service-connect": json.dumps({"namespace": "shop.local"})}
    labelled["containerDefinitions"][2]["dockerLabels"] = dict(labels)
    found = inject(labelled, REAL)
    assert container(found, "web")["dockerLabels"] == {"team": "shop"}
    assert container(found, "sidecar")["dockerLabels"] == {
        "tramo.sidecar": "true",
        "tramo.service-connect": labels["tramo.service-connect"],
    }


def test_every_app_starts_behind_the_sidecar_and_what_it_waited_for_stays() -> None:
    found = inject(task(), REAL, BLOCK)
    behind = {"containerName": "sidecar", "condition": "HEALTHY"}
    assert container(found, "web")["dependsOn"] == [{"containerName": "migrate", "condition": "SUCCESS"}, behind]
    assert container(found, "migrate")["dependsOn"] == [behind]
    assert "dependsOn" not in container(found, "router"), "the sidecar's own lines may go through it"
    assert "dependsOn" not in container(found, "sidecar")


def test_both_containers_log_as_the_app_does() -> None:
    found = inject(task(), REAL, BLOCK)
    assert container(found, "sidecar")["logConfiguration"] == container(found, "gate")["logConfiguration"] == LOGS


@pytest.mark.parametrize("redirect", [False, True])
@pytest.mark.parametrize("user", ["0", "1000"])
def test_injecting_again_changes_nothing(redirect: bool, user: str) -> None:
    settings = Settings(REAL.image, REAL.api_url, redirect, user)
    once = inject(task(), settings, BLOCK)
    before = deepcopy(once)
    assert inject(once, settings, BLOCK) == once == before
    assert inject(once, Settings(redirect=redirect, user=user)) == once, "image, URL and label are those that it has"


def test_the_given_document_is_left_as_it_is() -> None:
    given = task()
    inject(given, REAL, BLOCK)
    assert given == task()


def test_what_a_user_set_on_the_two_containers_stays() -> None:
    once = inject(task(), REAL, BLOCK)
    for each in once["containerDefinitions"]:
        if each["name"] in ("sidecar", "gate"):
            each["cpu"], each["memory"] = 100, 200
    sidecar = container(once, "sidecar")
    sidecar["environment"].append({"name": "TRAMO_ACCESS_LOG", "value": "json"})
    found = inject(once, Settings("example.com/tramo-sidecar:2"))
    assert variables(found)["TRAMO_ACCESS_LOG"] == "json"
    for name in ("sidecar", "gate"):
        assert container(found, name)["image"] == "example.com/tramo-sidecar:2"
        assert (container(found, name)["cpu"], container(found, name)["memory"]) == (100, 200)


def test_redirect_mode_has_a_proxy_configuration_and_can_be_left() -> None:
    found = inject(task(), Settings(REAL.image, REAL.api_url, redirect=True), BLOCK)
    assert found["proxyConfiguration"]["containerName"] == "sidecar"
    properties = {each["name"]: each["value"] for each in found["proxyConfiguration"]["properties"]}
    assert properties == PROXY_PROPERTIES
    assert variables(found)["TRAMO_REDIRECT"] == f"127.0.0.1:{properties['ProxyEgressPort']}"
    assert inject(found, REAL) == found, "it stays as long as nobody says otherwise"
    back = inject(found, replace(REAL, redirect=False))
    assert "proxyConfiguration" not in back
    assert back == inject(task(), REAL, BLOCK)


def test_an_alias_on_the_apps_own_port_needs_redirect_mode() -> None:
    block = {"namespace": "shop.local", "services": [{"portName": "web"}]}  # its alias is on the container's port
    with pytest.raises(InjectError, match="service web: the alias web:8080 is on the port of container web"):
        inject(task(), REAL, block)
    assert "proxyConfiguration" in inject(task(), Settings(REAL.image, REAL.api_url, redirect=True), block)


def test_a_sidecar_without_root_writes_no_hosts_file_and_may_listen_on_port_80() -> None:
    found = inject(task(), Settings(REAL.image, REAL.api_url, user="1000"), BLOCK)
    assert variables(found)["TRAMO_HOSTS_FILE"] == "off"
    controls = container(found, "sidecar")["systemControls"]
    assert controls == [{"namespace": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    assert inject(found, REAL) == found, "it stays as long as nobody says otherwise"
    root = inject(found, replace(REAL, user="0"))
    assert "TRAMO_HOSTS_FILE" not in variables(root)
    assert "systemControls" not in container(root, "sidecar")


def test_a_task_that_only_calls_others_has_no_gate() -> None:
    found = inject(task(), REAL, {"namespace": "shop.local"})
    assert [each["name"] for each in found["containerDefinitions"]] == ["router", "migrate", "web", "sidecar"]
    assert "TRAMO_INBOUND" not in variables(found)
    served = inject(task(), REAL, BLOCK)
    assert inject(served, REAL, {"namespace": "shop.local"}) == found


def test_the_answer_of_describe_task_definition_is_taken() -> None:
    described = {
        "taskDefinition": task(
            taskDefinitionArn="arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7",
            revision=7,
            status="ACTIVE",
            compatibilities=["EC2", "FARGATE"],
            requiresAttributes=[{"name": "ecs.capability.task-eni"}],
            registeredAt="2026-11-22T12:00:00Z",
            registeredBy="arn:aws:iam::123456789012:root",
        ),
        "tags": [],
    }
    assert inject(described, REAL, BLOCK) == inject(task(), REAL, BLOCK)


@pytest.mark.parametrize("redirect", [False, True])
def test_the_local_ecs_takes_what_inject_writes(redirect: bool) -> None:
    local.parse(inject(task(), Settings(REAL.image, REAL.api_url, redirect), BLOCK), revision=1, region="eu-west-1")


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)
def test_the_shops_task_definitions_are_what_inject_writes(path: Path) -> None:
    document = json.loads(path.read_text())
    own = deepcopy(document)
    offers = [each for each in own["containerDefinitions"] if "portMappings" in each]
    sidecar = container(own, "sidecar")
    block = json.loads(sidecar["dockerLabels"]["tramo.service-connect"])
    own["containerDefinitions"] = [
        each for each in own["containerDefinitions"] if each["name"] not in ("sidecar", "gate")
    ]
    for each in own["containerDefinitions"]:
        del each["dependsOn"]
    assert inject(own, Settings(sidecar["image"], variables(document)["TRAMO_API_URL"]), block) == document
    assert inject(document, Settings()) == document
    assert [each["name"] for each in document["containerDefinitions"][1:]] == ["sidecar", *["gate"] * len(offers)]
    configuration.read({"AWS_REGION": "eu-west-1", **variables(document)})


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in task().items() if field != name}


NAMED_SIDECAR = task(containerDefinitions=[*task()["containerDefinitions"], {"name": "sidecar", "image": "envoy"}])


@pytest.mark.parametrize(
    ("document", "block", "says"),
    [
        ({"services": []}, BLOCK, "containerDefinitions is not a list of containers with names"),
        (task(containerDefinitions=[]), BLOCK, "containerDefinitions is empty"),
        (without("networkMode"), BLOCK, "networkMode is not set; write awsvpc"),
        (task(networkMode="bridge"), BLOCK, "networkMode is bridge; write awsvpc"),
        (task(), None, "no container has the label tramo.service-connect"),
        (task(), {"serviceConnectConfiguration": []}, "the Service Connect block is not an object"),
        (task(), {"services": []}, "$.namespace"),
        (task(), {"namespace": "arn:aws:servicediscovery:eu-west-1:1:namespace/ns-1"}, "not its ARN"),
        (task(), {"namespace": "a", "services": [{"portName": "wbe"}]}, "there are: calls, web"),
        (NAMED_SIDECAR, BLOCK, "a container is named sidecar"),
        (task(cpu="64"), BLOCK, "cpu of the task is 64 CPU units, and its containers ask for 72"),
        (task(memory="128"), BLOCK, "memory of the task is 128 MiB, and its containers ask for 144"),
    ],
)
def test_every_mistake_is_named(document: dict[str, Any], block: dict[str, Any] | None, says: str) -> None:
    with pytest.raises(InjectError) as caught:
        inject(document, REAL, block)
    assert says in str(caught.value)


def test_the_health_check_and_the_user_that_a_sidecar_has_stay() -> None:
    once = inject(task(), REAL, BLOCK)
    (sidecar,) = [each for each in once["containerDefinitions"] if each["name"] == "sidecar"]
    sidecar["healthCheck"].update({"interval": 30, "retries": 3})
    sidecar["user"] = "0:0"
    assert inject(once, REAL) == once


def test_a_hosts_file_that_somebody_turned_off_stays_off_with_root() -> None:
    once = inject(task(), REAL, BLOCK)
    (sidecar,) = [each for each in once["containerDefinitions"] if each["name"] == "sidecar"]
    sidecar["environment"].append({"name": "TRAMO_HOSTS_FILE", "value": "off"})
    assert inject(once, REAL) == once
    assert inject(once, replace(REAL, user="0")) == once


def test_tags_of_a_described_task_definition_stay() -> None:
    tags = [{"key": "team", "value": "shop"}]
    assert inject({"taskDefinition": task(), "tags": tags}, REAL, BLOCK)["tags"] == tags


def test_the_sidecars_lines_are_not_joined_as_the_apps_are() -> None:
    given = task()
    patterns = {"awslogs-multiline-pattern": "^ERROR", "awslogs-datetime-format": "%Y-%m-%d"}
    logs = {**LOGS, "options": {**LOGS["options"], **patterns}}
    given["containerDefinitions"][2]["logConfiguration"] = logs
    found = inject(given, REAL, BLOCK)
    assert container(found, "sidecar")["logConfiguration"] == container(found, "gate")["logConfiguration"] == LOGS
    assert container(found, "web")["logConfiguration"] == logs


def test_what_is_not_given_is_asked_for() -> None:
    with pytest.raises(InjectError, match="use --image"):
        inject(task(), Settings(api_url="https://a"), BLOCK)
    with pytest.raises(InjectError, match="use --api-url"):
        inject(task(), Settings("image"), BLOCK)


def test_the_command_writes_json_and_names_the_file_of_a_mistake(tmp_path: Path) -> None:
    path, block, stream, warnings = tmp_path / "web.json", tmp_path / "connect.json", io.StringIO(), io.StringIO()
    path.write_text(json.dumps(task()))
    block.write_text(json.dumps(BLOCK))
    options: dict[str, Any] = {"image": REAL.image, "api_url": REAL.api_url, "redirect": False, "user": "0"}
    inject_file(path, block, stream, warnings, **options)
    assert json.loads(stream.getvalue()) == inject(task(), REAL, BLOCK)
    assert warnings.getvalue() == ""
    block.write_text(json.dumps({**BLOCK, "name_space": "x"}))
    inject_file(path, block, stream, warnings, **options)
    assert "$.name_space: this key is not known and does nothing; did you mean namespace?" in warnings.getvalue()
    for text in ("{", "[]", json.dumps({"family": "x"})):
        path.write_text(text)
        with pytest.raises(LocalError, match=r"web\.json: "):
            inject_file(path, block, stream, warnings, **options)
    with pytest.raises(LocalError, match="No such file"):
        inject_file(tmp_path / "none.json", None, stream, warnings, **options)


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (replace(REAL, feed_table="mesh-Feed-1"), "TRAMO_FEED_TABLE", "mesh-Feed-1"),
        (replace(REAL, otlp_endpoint="http://[::1]:4318"), "OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:4318"),
    ],
    ids=["table", "collector"],
)
def test_table_and_collector_are_variables_that_stay_when_they_are_not_named_again(
    settings: Settings, name: str, value: str
) -> None:
    once = inject(task(), settings, BLOCK)
    assert variables(once)[name] == value
    assert variables(inject(once, REAL))[name] == value
    assert name not in variables(inject(task(), REAL, BLOCK))


def test_a_collectors_address_is_checked_before_a_task_definition_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("127.0.0.1:4318", "http://", "grpc://127.0.0.1:4317", "http://a/?b"):
        with pytest.raises(SystemExit):
            main(["inject", "none.json", "--otlp-endpoint", wrong])
        assert "is not an address such as http://127.0.0.1:4318" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "wrong", "says"),
    [
        ("--api-url", "a1.execute-api.eu-west-1.amazonaws.com/live", "give the stack's output ApiUrl"),
        ("--api-url", "<ApiUrl>", "give the stack's output ApiUrl"),
        ("--user", "root", "is not a user ID such as 1000"),
        ("--user", "", "is not a user ID such as 1000"),
        ("--user", "bob; rm", "is not a user ID such as 1000"),
        ("--user", "1000:", "is not a user ID such as 1000"),
    ],
)
def test_an_option_that_cannot_be_meant_is_wrong_usage(
    option: str, wrong: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["inject", "none.json", option, wrong])
    assert caught.value.code == os.EX_USAGE
    assert says in capsys.readouterr().err


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    block, stream = path.with_suffix(".block"), io.StringIO()
    block.write_text(json.dumps(BLOCK))
    inject_file(path, block, stream, io.StringIO(), image=REAL.image, api_url=REAL.api_url)
    return stream.getvalue()


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    text = json.dumps(task())
    assert written(tmp_path / "a.json", b"\xef\xbb\xbf" + text.encode()) == written(tmp_path / "b.json", text.encode())


HALF = json.dumps(task(family="web\ud800")).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (json.dumps(task()).encode("utf-16"), "it is not UTF-8; save it as UTF-8"),
        (json.dumps(task()).encode("utf-16-le"), "it is not UTF-8; save it as UTF-8"),
        (b'{"family": "caf\xe9"}', "byte 15 is not UTF-8; save it as UTF-8"),
        (HALF, r"$.family: it has half of a character"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep for a task definition"),
        (b'{"x": ' + b"[" * 600 + b"]" * 600 + b"}", "nested too deep for a task definition"),
    ],
    ids=["utf-16", "utf-16 without mark", "latin-1", "half of a pair", "deep", "deep to copy"],
)
def test_a_file_that_is_no_text_of_a_task_definition_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(LocalError) as caught:
        written(tmp_path / "web.json", data)
    assert str(caught.value).startswith(str(tmp_path / "web.json"))
    assert says in str(caught.value)


def test_the_command_needs_only_a_file_an_image_and_a_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRAMO_FEED_TABLE", raising=False)
    monkeypatch.delenv("TRAMO_API_URL", raising=False)
    path = tmp_path / "web.json"
    finished = inject(task(), REAL, BLOCK)
    path.write_text(json.dumps(finished))
    assert main(["inject", str(path), "--image", REAL.image, "--api-url", REAL.api_url]) == 0
    assert json.loads(capsys.readouterr().out) == finished
    assert main(["inject", str(path), "--redirect", "--user", "1000:1000"]) == 0
    redirected = json.loads(capsys.readouterr().out)
    assert redirected == inject(task(), replace(REAL, redirect=True, user="1000:1000"), BLOCK)
    path.write_text(json.dumps(redirected))
    assert main(["inject", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == redirected
    assert main(["inject", str(path), "--no-redirect", "--user", "0"]) == 0
    assert json.loads(capsys.readouterr().out) == finished
