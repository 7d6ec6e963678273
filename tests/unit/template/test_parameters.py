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
def test_the_key_encrypts_the_tables_the_bucket_and_the_logs(key: str) -> None:
    stack = sam.deployed(KmsKey=key)
    own = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    for table in ("Registry", "Feed"):
        assert stack[table]["Properties"].get("SSESpecification") == (own if key else None)
    (bucket,) = stack["Snapshots"]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    kept = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key} if key else {"SSEAlgorithm": "AES256"}
    assert bucket["ServerSideEncryptionByDefault"] == kept
    assert bucket.get("BucketKeyEnabled", False) is bool(key), "else each reading is a request of KMS"
    groups = [each["Properties"] for each in stack.values() if each["Type"] == "AWS::Logs::LogGroup"]
    assert {each.get("KmsKeyId", "") for each in groups} == {key}


@pytest.mark.parametrize("key", ["", KEY])
def test_whoever_reads_or_writes_what_the_key_encrypts_may_use_it(key: str) -> None:
    found = {name: uses(resource, key) for name, resource in sam.deployed(KmsKey=key).items()}
    tables, both = ["dynamodb"], ["dynamodb", "s3"]
    users = {"RegistrarRole": tables, "ApiRole": tables, "ReconcilerRole": both, "PublisherRole": both}
    assert {name: services for name, services in found.items() if services} == (
        {**users, "SidecarPolicy": both} if key else {}
    )


def uses(resource: dict[str, Any], key: str) -> list[str]:
    """Return by which services a role or policy may have things decrypted with the key."""
    properties = resource.get("Properties", {})
    documents = [each["PolicyDocument"] for each in properties.get("Policies", [])]
    if resource["Type"] == "AWS::IAM::ManagedPolicy":
        documents = [properties["PolicyDocument"]]
    found: list[str] = []
    for statement in (each for document in documents for each in document["Statement"]):
        if "kms:Decrypt" in statement["Action"]:
            assert statement["Resource"] == key
            found += re.findall(r"(\w+)\.\$\{AWS::Region\}", json.dumps(statement["Condition"]["StringEquals"]))
    return found


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


ROLES = "RegistrarRole ReconcilerRole PublisherRole ApiRole"
FUNCTIONS = "Registrar Reconciler Publisher Api"
LOGS = "RegistrarLogs ReconcilerLogs PublisherLogs ApiLogs"
PUBLISHING = "Reconciler Publisher"
ALARMS = " ".join(sam.resources("AWS::CloudWatch::Alarm"))
DOMAIN = {"DomainName": "tramo.example.com"}

CHANGES = {
    "Mesh": ("blue", f"{FUNCTIONS} SidecarPolicy Dashboard {ALARMS.replace('DeadLettersAlarm', '')}"),
    "Clusters": ("blue,green", "Registrar Reconciler"),
    "PollSeconds": ("10", "Api"),
    "FeedSeconds": ("2", PUBLISHING),
    "FeedReadCapacity": ("800", "Feed"),
    "EcsCallsPerSecond": ("5", "Reconciler"),
    "TaskIdentity": ("off", "Api"),
    "Namespace": ("shop.local", "SidecarPolicy DeployPolicy"),
    "HostedZoneId": ("Z0123456789ABCDEFGHIJ", f"{PUBLISHING} ReconcilerRole PublisherRole"),
    "HostedZoneMode": ("redirect", PUBLISHING),
    "VpcEndpointIds": ("vpce-0a1", "RestApi"),
    "DomainName": ("tramo.example.com", "Domain DomainMapping"),
    "CertificateArn": ("arn:aws:acm:eu-west-1:123456789012:certificate/1", "Domain"),
    "PermissionsBoundary": (BOUNDARY, ROLES),
    "KmsKey": (KEY, f"Registry Feed Snapshots {LOGS} {ROLES} SidecarPolicy"),
    "Architecture": ("x86_64", FUNCTIONS),
    "LogRetentionDays": ("7", LOGS),
    "LogLevel": ("DEBUG", FUNCTIONS),
    "AlarmTopic": ("arn:aws:sns:eu-west-1:123456789012:alarms", ALARMS),
}
"""Of each parameter: another value than its default, and the resources that are then others."""

TAKEN_OVER = [
    ("Clusters", "Registrar Reconciler", "Environment.Variables.TRAMO_CLUSTERS"),
    ("PollSeconds", "Api", "Environment.Variables.TRAMO_POLL_SECONDS"),
    ("FeedSeconds", PUBLISHING, "Environment.Variables.TRAMO_FEED_SECONDS"),
    ("EcsCallsPerSecond", "Reconciler", "Environment.Variables.TRAMO_ECS_CALLS_PER_SECOND"),
    ("TaskIdentity", "Api", "Environment.Variables.TRAMO_TASK_IDENTITY"),
    ("HostedZoneId", PUBLISHING, "Environment.Variables.TRAMO_HOSTED_ZONE"),
    ("HostedZoneMode", PUBLISHING, "Environment.Variables.TRAMO_HOSTED_ZONE_MODE"),
    ("Architecture", FUNCTIONS, "Architectures.0"),
    ("LogRetentionDays", LOGS, "RetentionInDays"),
    ("LogLevel", FUNCTIONS, "LoggingConfig.ApplicationLogLevel"),
    ("LogLevel", FUNCTIONS, "Environment.Variables.LOG_LEVEL"),
]
"""Parameters whose value stands in resources as it is."""


def test_every_parameter_is_tried_with_its_default_and_with_another_value() -> None:
    assert CHANGES.keys() == sam.read()["Parameters"].keys()


@pytest.mark.parametrize("parameter", CHANGES)
def test_a_parameter_changes_these_resources_and_no_others(parameter: str) -> None:
    value, resources = CHANGES[parameter]
    beside = DOMAIN if parameter == "CertificateArn" else {}
    before, after = sam.deployed(**beside), sam.deployed(**beside, **{parameter: value})
    assert value != str(sam.read()["Parameters"][parameter]["Default"])
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    generated = {name for name in changed if name.startswith("RestApiDeployment")}  # its name has a digest of the API
    assert changed - generated == set(resources.split())


@pytest.mark.parametrize(("parameter", "resources", "path"), TAKEN_OVER)
def test_the_value_of_a_parameter_reaches_its_place(parameter: str, resources: str, path: str) -> None:
    default, other = str(sam.read()["Parameters"][parameter]["Default"]), CHANGES[parameter][0]
    for value in (default, other):
        stack = sam.deployed(**{parameter: value})
        assert {found_at(stack[name]["Properties"], path) for name in resources.split()} == {value}


def found_at(properties: Any, path: str) -> Any:
    """Return what is at a path such as `Architectures.0`."""
    for step in path.split("."):
        properties = properties[int(step)] if isinstance(properties, list) else properties[step]
    return properties


@pytest.mark.parametrize(("capacity", "mode"), [("0", "PAY_PER_REQUEST"), ("800", "PROVISIONED")])
def test_the_feed_is_paid_by_request_or_by_capacity(capacity: str, mode: str) -> None:
    feed = sam.deployed(FeedReadCapacity=capacity)["Feed"]["Properties"]
    assert feed["BillingMode"] == mode
    assert feed.get("ProvisionedThroughput", {}).get("ReadCapacityUnits", "0") == capacity


@pytest.mark.parametrize("topic", ["", "arn:aws:sns:eu-west-1:123456789012:alarms"])
def test_alarms_go_to_the_topic(topic: str) -> None:
    alarms = [each["Properties"] for each in sam.deployed(AlarmTopic=topic).values() if is_alarm(each)]
    assert alarms
    for alarm in alarms:
        assert alarm.get("AlarmActions", []) == alarm.get("OKActions", []) == ([topic] if topic else [])


def is_alarm(resource: dict[str, Any]) -> bool:
    return bool(resource["Type"] == "AWS::CloudWatch::Alarm")


@pytest.mark.parametrize("certificate", ["", "arn:aws:acm:eu-west-1:123456789012:certificate/1"])
def test_the_certificate_is_the_names(certificate: str) -> None:
    stack = sam.deployed(**DOMAIN, CertificateArn=certificate)
    assert stack["Domain"]["Properties"]["RegionalCertificateArn"] == certificate
