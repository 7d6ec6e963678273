"""What each parameter changes in the stack: every one with its default and with another value."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.control_plane import sam


def environment(stack: dict[str, dict[str, Any]], function: str) -> dict[str, Any]:
    found: dict[str, Any] = stack[function]["Properties"]["Environment"]["Variables"]
    return found


@pytest.mark.parametrize("mesh", ["Tramo", "blue"])
def test_a_mesh_registers_its_own_tasks_and_has_its_own_metrics(mesh: str) -> None:
    stack = sam.deployed(Mesh=mesh)
    assert environment(stack, "Registrar")["TRAMO_MESH"] == mesh
    assert environment(stack, "Reconciler")["TRAMO_MESH"] == mesh
    for function in ("Registrar", "Reconciler", "Publisher", "Api"):
        assert environment(stack, function)["POWERTOOLS_METRICS_NAMESPACE"] == mesh
    policy = stack["SidecarPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (metrics,) = [each for each in policy if each["Sid"] == "Metrics"]
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": mesh}}
    of_mesh = set(re.findall(r'"Namespace": "([^"]+)"', json.dumps(stack))) - {"AWS/SQS"}
    assert of_mesh == {mesh}, "alarms"
    body = json.loads(stack["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    namespaces = set(re.findall(r'\{\\"([^"\\]+)\\",\w+\}', json.dumps(body)))
    assert namespaces == {mesh}, "searches of the dashboard"


def test_a_mesh_is_a_name_that_its_label_may_have() -> None:
    allowed = re.compile(sam.read()["Parameters"]["Mesh"]["AllowedPattern"])
    assert [bool(allowed.match(each)) for each in ("Tramo", "blue-2", "AWS/ECS", "-a", "m" * 64)] == [
        *(True, True),
        *(False, False, False),
    ]


BOUNDARY = "arn:aws:iam::123456789012:policy/bounds"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234"


@pytest.mark.parametrize("boundary", ["", BOUNDARY])
def test_every_role_has_the_boundary_that_the_organisation_demands(boundary: str) -> None:
    roles = [each["Properties"] for each in sam.deployed(PermissionsBoundary=boundary).values() if is_role(each)]
    assert len(roles) == 4
    for role in roles:
        assert role.get("PermissionsBoundary", "") == boundary


def is_role(resource: dict[str, Any]) -> bool:
    return bool(resource["Type"] == "AWS::IAM::Role")


@pytest.mark.parametrize("key", ["", KEY])
def test_the_key_encrypts_the_table_and_the_logs(key: str) -> None:
    stack = sam.deployed(KmsKey=key)
    own = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    assert stack["Registry"]["Properties"].get("SSESpecification") == (own if key else None)
    groups = [each["Properties"] for each in stack.values() if each["Type"] == "AWS::Logs::LogGroup"]
    assert {each.get("KmsKeyId", "") for each in groups} == {key}


@pytest.mark.parametrize(
    ("namespace", "path"),
    [("*", "*"), ("shop.local", "shop.local"), ("by-tag", "${aws:PrincipalTag/tramo-namespace}")],
)
def test_a_task_and_a_pipeline_may_touch_their_namespace_only(namespace: str, path: str) -> None:
    stack = sam.deployed(Namespace=namespace)
    for name in ("SidecarPolicy", "DeployPolicy"):
        (calls, *_) = stack[name]["Properties"]["PolicyDocument"]["Statement"]
        for each in calls["Resource"]:
            assert f"/v1/namespaces/{path}/" in each["Fn::Sub"]


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (
            "PermissionsBoundary",
            ["", BOUNDARY, "arn:aws-us-gov:iam::aws:policy/a/b"],
            ["bounds", "arn:aws:iam::1:role/a"],
        ),
        ("KmsKey", ["", KEY], ["1234", "alias/mine", "arn:aws:kms:eu-west-1:1:alias/mine"]),
        ("Namespace", ["*", "by-tag", "shop.local"], ["", "**", "a b", "-a"]),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(parameter: str, good: list[str], bad: list[str]) -> None:
    allowed = re.compile(sam.read()["Parameters"][parameter]["AllowedPattern"])
    assert [value for value in good + bad if allowed.search(value)] == good


@pytest.mark.parametrize("endpoints", ["", "vpce-0a1", "vpce-0a1,vpce-0b2"])
def test_a_private_api_is_reached_by_its_endpoints_only(endpoints: str) -> None:
    api = sam.deployed(VpcEndpointIds=endpoints)["RestApi"]["Properties"]
    if not endpoints:
        assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
        assert "Policy" not in api
        return
    listed = {"Fn::Split": [",", endpoints]}
    assert api["EndpointConfiguration"] == {"Types": ["PRIVATE"], "VpcEndpointIds": listed}
    refused, allowed = api["Policy"]["Statement"]
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"StringNotEquals": {"aws:SourceVpce": listed}})
    assert (allowed["Effect"], allowed["Resource"]) == ("Allow", "execute-api:/live/GET/v1/health")


@pytest.mark.parametrize("name", ["", "tramo.example.com"])
def test_a_name_of_ones_own_leads_to_the_stage(name: str) -> None:
    stack = sam.deployed(DomainName=name, CertificateArn="arn:aws:acm:eu-west-1:123456789012:certificate/1")
    assert ("Domain" in stack, "DomainMapping" in stack) == (bool(name), bool(name))
    if name:
        assert stack["Domain"]["Properties"]["DomainName"] == name
        mapping = stack["DomainMapping"]["Properties"]
        assert mapping["RestApiId"] == {"Ref": "RestApi"}
        assert "BasePath" not in mapping, "the URL has no stage"


def test_a_name_without_a_certificate_or_of_a_private_api_is_refused() -> None:
    rule = sam.read()["Rules"]["DomainHasCertificate"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]}
    assert [each["Assert"] for each in rule["Assertions"]] == [
        {"Fn::Not": [{"Fn::Equals": [{"Ref": "CertificateArn"}, ""]}]},
        {"Fn::Equals": [{"Ref": "VpcEndpointIds"}, ""]},
    ]
