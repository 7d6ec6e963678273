"""`tramo analyze`: task definitions in every form of file, alone, together, and laid over a mesh."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from infra.analysis.documents import InputError, read
from infra.analysis.issues import LABEL, Issue, Served, analyze
from infra.cli.analyze import BAD_INPUT, ISSUES, services_of
from infra.cli.main import main

SHOP = Path(__file__).parents[3] / "infra" / "examples" / "shop"
GOOD: dict[str, Any] = json.loads((SHOP / "orders.json").read_text())


def label(document: dict[str, Any]) -> dict[str, Any]:
    """The container that has the label."""
    return next(each for each in document["containerDefinitions"] if LABEL in each.get("dockerLabels", {}))


def changed(service: dict[str, Any] | None = None, family: str = "orders", **variables: str) -> dict[str, Any]:
    """The shop's orders with changes of its one service, and with variables of its sidecar."""
    document = copy.deepcopy(GOOD)
    document["family"] = family
    labels = label(document)["dockerLabels"]
    configuration = json.loads(labels[LABEL])
    configuration["services"][0].update(service or {})
    labels[LABEL] = json.dumps(configuration)
    sidecar = next(each for each in document["containerDefinitions"] if each["name"] == "sidecar")
    sidecar["environment"] += [{"name": name, "value": value} for name, value in variables.items()]
    return document


def redirected(container: str = "sidecar", variable: str = "127.0.0.1:15002") -> dict[str, Any]:
    """The shop's orders with a proxyConfiguration of this container, and TRAMO_REDIRECT unless it is empty."""
    proxy = {"type": "APPMESH", "containerName": container}
    return {**changed(TRAMO_REDIRECT=variable or "off"), "proxyConfiguration": proxy}


def sidecar_with(**fields: Any) -> dict[str, Any]:
    """The shop's orders with other fields of the sidecar's container."""
    document = copy.deepcopy(GOOD)
    sidecar = next(each for each in document["containerDefinitions"] if each["name"] == "sidecar")
    sidecar.update(fields)
    return document


def environment(**variables: str | None) -> list[dict[str, Any]]:
    """The variables of the shop's orders' sidecar with changes; None leaves one out."""
    sidecar = next(each for each in GOOD["containerDefinitions"] if each["name"] == "sidecar")
    merged = {**{each["name"]: each["value"] for each in sidecar["environment"]}, **variables}
    return [{"name": name, "value": value} for name, value in merged.items() if value is not None]


def caller(**mapping: Any) -> dict[str, Any]:
    """A task that offers nothing, and whose app has a port."""
    document = sidecar_with(environment=environment(TRAMO_INBOUND=None))
    document["family"] = "web"
    label(document)["dockerLabels"][LABEL] = json.dumps({"namespace": "shop.local"})
    document["containerDefinitions"][0]["portMappings"] = [mapping]
    return document


def template(document: dict[str, Any]) -> dict[str, Any]:
    """The same as a resource of a CloudFormation template, with the label put together from parts."""
    document = copy.deepcopy(document)
    holder = label(document)
    labels = holder.pop("dockerLabels")
    head, _, tail = labels[LABEL].partition("shop.local")
    properties = _large(document)
    container = next(each for each in properties["ContainerDefinitions"] if each["Name"] == holder["name"])
    container["DockerLabels"] = {**labels, LABEL: {"Fn::Join": ["", [head, {"Ref": "Namespace"}, tail]]}}
    return {
        "Parameters": {"Namespace": {"Type": "String", "Default": "shop.local"}},
        "Resources": {
            "OrdersTask": {"Type": "AWS::ECS::TaskDefinition", "Properties": properties},
            "Bucket": {"Type": "AWS::S3::Bucket"},
        },
    }


def _large(value: Any) -> Any:
    if isinstance(value, list):
        return [_large(each) for each in value]
    if isinstance(value, dict):
        names_stay = ("dockerLabels", "options")
        return {
            name[:1].upper() + name[1:]: each if name in names_stay else _large(each) for name, each in value.items()
        }
    return value


def plan(document: dict[str, Any]) -> dict[str, Any]:
    """The same as Terraform plans it, in a module."""
    resource = {
        "type": "aws_ecs_task_definition",
        "name": "orders",
        "values": {
            "family": document["family"],
            "network_mode": document["networkMode"],
            "container_definitions": json.dumps(document["containerDefinitions"]),
        },
    }
    child = {"resources": [resource, {"type": "aws_s3_bucket", "values": {}}]}
    return {"planned_values": {"root_module": {"child_modules": [child]}}}


def issues(tmp_path: Path, *documents: Any, served: tuple[Served, ...] = ()) -> list[Issue]:
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.json").write_text(json.dumps(document, indent=1))
    return analyze(read([tmp_path]), served)


def codes(tmp_path: Path, *documents: Any, served: tuple[Served, ...] = ()) -> list[str]:
    return [each.code for each in issues(tmp_path, *documents, served=served)]


def test_the_shop_has_no_issues() -> None:
    assert analyze(read([SHOP])) == []


@pytest.mark.parametrize("form", [dict, template, plan, lambda each: {"taskDefinition": each, "tags": []}])
def test_every_form_of_file_is_read(tmp_path: Path, form: Any) -> None:
    (found,) = issues(tmp_path, form(changed({"portName": "htpp"})))
    assert (found.code, found.level) == ("TRM0101", "error")
    assert 'no port mapping is named "htpp"' in found.what


def test_a_template_in_yaml_with_short_functions_is_read(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(
        """
Resources:
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: orders
      NetworkMode: awsvpc
      ContainerDefinitions:
        - Name: app
          Image: !Sub "${AWS::AccountId}.dkr.ecr/app"
          PortMappings: [{Name: http, ContainerPort: 8080, AppProtocol: http}]
          DockerLabels:
            tramo.service-connect: !Sub '{"namespace": "${Namespace}", "services": [{"portName": "http"}]}'
"""
    )
    (found,) = analyze(read([tmp_path / "template.yaml"]))
    assert (found.code, found.file) == ("TRM0104", f"{tmp_path / 'template.yaml'}:6")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (changed(TRAMO_ACESS_LOG="json"), "TRM0301"),
        (changed(TRAMO_INBOUND="orders=15107:8080/http"), "TRM0302"),
        (changed(TRAMO_ACCESS_LOG="yes"), "TRM0408"),
        (changed(TRAMO_NAMESPACE="shop.locl"), "TRM0106"),
        (changed(TRAMO_MESH="blue"), "TRM0109"),
        (changed({"clientAlias": []}), "TRM0102"),
        (changed({"clientAliases": [{"port": 8080, "dnsName": "orders"}]}), "TRM0105"),
    ],
)
def test_each_mistake_has_its_code(tmp_path: Path, document: dict[str, Any], code: str) -> None:
    assert codes(tmp_path, document) == [code]


def test_two_services_with_one_alias_are_found_on_both_sides(tmp_path: Path) -> None:
    other = changed({"discoveryName": "orders2"}, family="orders2")
    found = [each for each in issues(tmp_path, GOOD, other) if each.code != "TRM0302"]
    assert [(each.code, each.resource) for each in found] == [("TRM0201", "svc/orders"), ("TRM0201", "svc/orders2")]


def test_an_alias_on_the_port_of_another_app_is_found(tmp_path: Path) -> None:
    ports = {
        mapping["containerPort"] for each in GOOD["containerDefinitions"] for mapping in each.get("portMappings", ())
    }
    other = Served("shop.local", "stock", frozenset({("stock", min(ports))}), "the mesh")
    (found,) = issues(tmp_path, GOOD, served=(other,))
    assert found.code == "TRM0105"
    assert f"alias stock:{min(ports)} of stock (the mesh)" in found.where
    foreign = {**GOOD, "proxyConfiguration": {"type": "APPMESH", "containerName": "gate"}}
    assert codes(tmp_path, foreign, served=(other,)) == ["TRM0105"], "it is not the sidecar's"
    assert codes(tmp_path, redirected(), served=(other,)) == []
    elsewhere = Served("other.local", "stock", other.aliases, "the mesh")
    assert codes(tmp_path, GOOD, served=(elsewhere,)) == []


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"containerPort": 80}, ["TRM0105"]),
        ({"containerPortRange": "70-90"}, ["TRM0105"]),
        ({"containerPort": 80, "protocol": "udp"}, []),
        ({"containerPort": 8080}, []),
    ],
)
def test_an_alias_on_the_port_of_an_app_that_only_calls_is_found(
    tmp_path: Path, mapping: dict[str, Any], expected: list[str]
) -> None:
    orders = Served("shop.local", "orders", frozenset({("orders", 80)}), "the mesh")
    found = issues(tmp_path, caller(**mapping), served=(orders,))
    assert [each.code for each in found] == expected
    assert all("container orders has port 80" in each.what for each in found)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (sidecar_with(environment=environment(TRAMO_INBOUND=None)), [("TRM0302", "error")]),
        (changed(TRAMO_REDIRECT="127.0.0.1:15002"), [("TRM0307", "error")]),
        (redirected(), []),
        (redirected(container="gate"), [("TRM0307", "error")]),
        (redirected(container="gate", variable=""), []),
        (redirected(variable=""), [("TRM0307", "warning")]),
        (sidecar_with(readonlyRootFilesystem=True), [("TRM0305", "warning")]),
        (sidecar_with(user="1000:1000"), [("TRM0305", "warning")]),
        (sidecar_with(user="root"), []),
        (sidecar_with(readonlyRootFilesystem=True, environment=environment(TRAMO_HOSTS_FILE="off")), []),
        (sidecar_with(environment=environment(TRAMO_INBOUND=None), secrets=[{"name": "TRAMO_INBOUND"}]), []),
        (sidecar_with(environment=[], environmentFiles=[{"type": "s3", "value": "arn:aws:s3:::a/b"}]), []),
    ],
)
def test_wiring_that_the_sidecar_cannot_work_with_is_found(
    tmp_path: Path, document: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert [(each.code, each.level) for each in issues(tmp_path, document)] == expected


@pytest.mark.parametrize(
    ("namespace", "waits", "expected"),
    [("", True, ["TRM0408"]), ("shop.local", True, []), ("", False, [])],
)
def test_a_label_that_the_sidecar_cannot_see_as_it_starts_is_found(
    tmp_path: Path, namespace: str, waits: bool, expected: list[str]
) -> None:
    document = changed(TRAMO_NAMESPACE=namespace)
    app = document["containerDefinitions"][0]
    app["dockerLabels"] = {LABEL: label(document)["dockerLabels"].pop(LABEL)}
    if not waits:
        del app["dependsOn"]
    assert codes(tmp_path, document) == expected


@pytest.mark.parametrize("address", ["<ApiUrl>", "example.execute-api.eu-west-1.amazonaws.com/live", None])
def test_an_address_of_the_api_that_is_none_is_found(tmp_path: Path, address: str | None) -> None:
    (found,) = issues(tmp_path, sidecar_with(environment=environment(TRAMO_API_URL=address)))
    assert (found.code, found.level) == ("TRM0408", "error")
    assert found.what.startswith("TRAMO_API_URL is")


@pytest.mark.parametrize(
    "address",
    [
        {"Ref": "ApiUrl"},
        {"Fn::GetAtt": ["Mesh", "Outputs.ApiUrl"]},
        {"Fn::ImportValue": "tramo-ApiUrl"},
        {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.amazonaws.com/live"},
        {"Fn::Join": ["", ["https://", {"Ref": "Api"}, ".execute-api.", {"Ref": "AWS::Region"}]]},
        {"Fn::If": ["IsBlue", "<blue>", "<green>"]},
    ],
)
def test_an_address_of_the_api_that_a_deployment_gives_is_not_judged(tmp_path: Path, address: Any) -> None:
    document = template(sidecar_with(environment=environment(TRAMO_API_URL=address)))
    variables = document["Resources"]["OrdersTask"]["Properties"]["ContainerDefinitions"][1]["Environment"]
    assert codes(tmp_path, document) == []
    (tmp_path / "0.json").unlink()
    variables[0]["Value"] = "<ApiUrl>"
    assert codes(tmp_path, document) == ["TRM0408"]


def test_the_proxy_configuration_of_a_plan_is_the_sidecars_or_not(tmp_path: Path) -> None:
    document = plan(redirected())
    (resource, _) = document["planned_values"]["root_module"]["child_modules"][0]["resources"]
    for container, expected in (("sidecar", []), ("envoy", ["TRM0307"])):
        resource["values"]["proxy_configuration"] = [{"type": "APPMESH", "container_name": container}]
        assert codes(tmp_path, document) == expected


def test_a_service_in_bridge_mode_needs_no_sidecar(tmp_path: Path) -> None:
    document = {**GOOD, "networkMode": "bridge"}
    document["containerDefinitions"] = [
        {**GOOD["containerDefinitions"][0], "dockerLabels": dict(label(GOOD)["dockerLabels"])}
    ]
    del document["containerDefinitions"][0]["dockerLabels"]["tramo.sidecar"]
    assert codes(tmp_path, document) == []
    assert codes(tmp_path, {**document, "networkMode": "awsvpc"}) == ["TRM0104"]


@pytest.mark.parametrize(
    ("labels", "where"),
    [
        ({LABEL: {"namespace": "shop.local"}}, f"container app, label {LABEL} at $"),
        ([LABEL], "container app, dockerLabels"),
    ],
)
def test_labels_of_another_form_than_the_apis_are_an_error_with_a_place(
    tmp_path: Path, labels: Any, where: str
) -> None:
    document = {"family": "orders", "containerDefinitions": [{"name": "app", "dockerLabels": labels}]}
    (found,) = issues(tmp_path, document)
    assert (found.code, found.where) == ("TRM0101", where)


def test_a_file_without_label_is_named_and_no_good_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, good = tmp_path / "orders.json", tmp_path / "orders.mesh.json"
    plain.write_text(json.dumps({"family": "orders", "containerDefinitions": [{"name": "app", "image": "orders:1"}]}))
    good.write_text(json.dumps(GOOD))
    assert main(["analyze", "--offline", str(plain)]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"tramo: warning: no task definition in {plain} joins the mesh: none has {LABEL}\n"
    assert main(["analyze", "--offline", "-o", "json", str(plain)]) == 0
    output = capsys.readouterr()
    assert (json.loads(output.out), str(plain) in output.err) == ([], True)
    assert main(["analyze", "--offline", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"✔ No validation issues found when analyzing {good}.\n"


def test_the_own_service_in_the_mesh_is_no_conflict(tmp_path: Path) -> None:
    alias = json.loads(label(GOOD)["dockerLabels"][LABEL])["services"][0]["clientAliases"][0]
    own = Served("shop.local", "orders", frozenset({(alias["dnsName"], alias["port"])}), "the mesh")
    assert codes(tmp_path, GOOD, served=(own,)) == []


@pytest.mark.parametrize(
    ("text", "message"), [("{", "Expecting"), ("[]", "no task definition"), ('{"family": "x"}', "no task definition")]
)
def test_a_file_that_was_named_must_have_a_task_definition(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read([path])


def test_exit_codes_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "orders.json"
    path.write_text(json.dumps(GOOD))
    assert main(["analyze", "--offline", str(path)]) == 0
    assert capsys.readouterr().out == f"✔ No validation issues found when analyzing {path}.\n"
    path.write_text(json.dumps(changed({"portName": "htpp"})))
    assert main(["analyze", "--offline", str(path)]) == ISSUES
    assert capsys.readouterr().out.startswith(f"Error [TRM0101] (taskdef/orders {path}:1) ")
    assert main(["analyze", "--offline", "-S", "TRM0101=taskdef/*", str(path)]) == 0
    assert main(["analyze", "--offline", str(tmp_path / "nothing.json")]) == BAD_INPUT
    assert "nothing.json: No such file" in capsys.readouterr().err
    path.write_text(json.dumps(changed(family="orders") | {"containerDefinitions": []}))
    assert main(["analyze", "--offline", str(path)]) == 0
    assert main(["analyze", "-L"]) == 0
    assert "TRM0301" in capsys.readouterr().out


def test_warnings_fail_only_if_they_are_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    path.write_text(json.dumps(changed({"clientAliases": [{"port": 8080, "dnsName": "orders"}]})))
    assert main(["analyze", "--offline", str(path)]) == 0
    assert main(["analyze", "--offline", "--failure-threshold", "Warning", str(path)]) == ISSUES
    assert main(["analyze", "--offline", "--output-threshold", "Error", "-o", "json", str(path)]) == 0


def test_without_a_mesh_nothing_is_laid_over(tmp_path: Path) -> None:
    options = argparse.Namespace(offline=False, stack=None, api_url=None, namespace=None, state_dir=tmp_path)
    assert services_of(options) == []
