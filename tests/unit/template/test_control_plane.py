"""The table, the functions, and what calls them."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import pytest

from infra.local import pattern
from infra.local.template import load
from publisher.app import changes_of
from registry.domain.feed import WHOLE_SECONDS
from registry.dynamodb.keys import HEAD, alias_key, changes_key, claim_key, part_key, service_key, task_key, vip_key
from registry.settings import Settings
from tests.support.control_plane import ecs, sam

NAMES = {"Registrar", "Reconciler", "Publisher", "Api"}
BEFORE_RUNNING = {"PROVISIONING", "PENDING", "ACTIVATING"}


def rule_pattern() -> Any:
    return sam.resources("AWS::Events::Rule")["RegistrarTaskState"]["EventPattern"]


def test_the_registry() -> None:
    resource = sam.deployed()["Registry"]
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    assert resource["Properties"] == {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }


def test_the_feed_is_a_table_of_its_own_with_the_capacity_of_a_parameter() -> None:
    resource = sam.expand()["Resources"]["Feed"]
    assert "DeletionPolicy" not in resource
    properties = resource["Properties"]
    assert properties["BillingMode"] == {"Fn::If": ["HasFeedCapacity", "PROVISIONED", "PAY_PER_REQUEST"]}
    _, provisioned, otherwise = properties["ProvisionedThroughput"]["Fn::If"]
    assert provisioned == {"ReadCapacityUnits": {"Ref": "FeedReadCapacity"}, "WriteCapacityUnits": 150}
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert "StreamSpecification" not in properties


def test_whole_documents_outlive_an_outage_and_are_nobody_elses() -> None:
    properties = sam.resources("AWS::S3::Bucket")["Snapshots"]
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] * 86_400 > 7 * 86_400 + WHOLE_SECONDS
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}


def test_every_parameter_has_a_default_that_serves() -> None:
    assert not [name for name, each in sam.read()["Parameters"].items() if "Default" not in each]


def test_the_functions_are_traced_and_log_json() -> None:
    functions = sam.resources("AWS::Lambda::Function")
    assert functions.keys() == NAMES
    for name, function in functions.items():
        # A poll of a sidecar is in no trace unless somebody else's request is the cause.
        assert function["TracingConfig"] == {"Mode": "PassThrough" if name == "Api" else "Active"}, name
        assert function["Architectures"] == [{"Ref": "Architecture"}], name
        assert function["LoggingConfig"]["LogFormat"] == "JSON", name
        assert function["LoggingConfig"]["SystemLogLevel"] == "WARN", "else two lines a poll"
        assert function["Runtime"] == "python3.11", name
    assert sam.read()["Parameters"]["Architecture"]["Default"] == "arm64"


def test_logs_outlive_the_stack_and_do_not_stay_for_ever() -> None:
    for name, each in sam.deployed().items():
        if each["Type"] == "AWS::Logs::LogGroup":
            assert each["DeletionPolicy"] == each["UpdateReplacePolicy"] == "Retain", name
    groups = sam.resources("AWS::Logs::LogGroup")
    assert groups.keys() == {f"{name}Logs" for name in NAMES}
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    assert sam.read()["Parameters"]["LogRetentionDays"]["Default"] == 30


def test_the_environment_of_the_functions() -> None:
    shared = {"TRAMO_TABLE": "tramo", "POWERTOOLS_METRICS_NAMESPACE": "Tramo", "LOG_LEVEL": "INFO"}
    publishing = {
        "TRAMO_STREAM": "Registry.StreamArn",
        "TRAMO_HOSTED_ZONE": "",
        "TRAMO_HOSTED_ZONE_MODE": "listen",
        "TRAMO_FEED_TABLE": "tramo-feed",
        "TRAMO_FEED_BUCKET": "",
        "TRAMO_FEED_SECONDS": "1",
    }
    own = {
        "Registrar": {"TRAMO_MESH": "Tramo", "TRAMO_CLUSTERS": ""},
        "Reconciler": {
            "TRAMO_MESH": "Tramo",
            "TRAMO_CLUSTERS": "",
            "TRAMO_ECS_CALLS_PER_SECOND": "10",
            **publishing,
        },
        "Publisher": publishing,
        "Api": {
            "TRAMO_MESH": "Tramo",
            "TRAMO_POLL_SECONDS": "5",
            "TRAMO_TASK_IDENTITY": "session",
            "TRAMO_FEED_TABLE": "tramo-feed",
        },
    }
    for name, function in sam.functions().items():
        service = {"POWERTOOLS_SERVICE_NAME": name.lower()}
        assert function.environment == shared | service | own.get(name, {})


def test_the_functions_that_publish_know_the_hosted_zone_of_the_parameters() -> None:
    chosen = {"HostedZoneId": "Z0123456789ABCDEFGHIJ", "HostedZoneMode": "redirect"}
    environments = {each.name: each.environment for each in load(parameters=chosen).functions}
    for name, environment in environments.items():
        settings = Settings.from_environment({"AWS_REGION": "us-east-1", **environment})
        found = (settings.hosted_zone, settings.hosted_zone_mode)
        assert found == (tuple(chosen.values()) if name in ("Publisher", "Reconciler") else ("", "listen")), name
    parameter = sam.read()["Parameters"]["HostedZoneId"]
    assert [bool(re.match(parameter["AllowedPattern"], each)) for each in ("", *chosen.values())] == [True, True, False]


def test_every_handler_is_there() -> None:
    for function in sam.functions().values():
        module, _, name = function.handler.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), function.handler


def test_the_rule_selects_every_state_in_which_a_task_counts() -> None:
    for event in ecs.life("b8f1c2d3e4f5061728394a5b6c7d8e9f"):
        status = event["detail"]["lastStatus"]
        assert pattern.matches(rule_pattern(), event) is (status not in BEFORE_RUNNING), status


@pytest.mark.parametrize("path", sorted(ecs.EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_rule_on_recorded_events(path: Any) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    wanted = event["detail-type"] == "ECS Task State Change" and event["detail"].get("lastStatus") not in BEFORE_RUNNING
    assert pattern.matches(rule_pattern(), event) is wanted


def test_the_rule_takes_tasks_that_no_service_started() -> None:
    event = ecs.event("standalone")
    assert event["detail"]["group"].startswith("family:")
    assert pattern.matches(rule_pattern(), event)


@pytest.mark.parametrize("path", sorted(ecs.EVENTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_rule_for_what_happens_to_services(path: Any) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    rule = sam.resources("AWS::Events::Rule")["RegistrarServiceEvent"]["EventPattern"]
    wanted = event["detail-type"] in ("ECS Service Action", "ECS Deployment State Change")
    assert pattern.matches(rule, event) is wanted


@pytest.mark.parametrize("rule", ["RegistrarTaskState", "RegistrarServiceEvent"])
def test_what_the_registrar_cannot_work_ends_in_the_queue(rule: str) -> None:
    queue = {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    (target,) = sam.resources("AWS::Events::Rule")[rule]["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": queue}
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    failed = sam.resources("AWS::Lambda::EventInvokeConfig")["RegistrarEventInvokeConfig"]
    assert failed["DestinationConfig"] == {"OnFailure": {"Destination": queue}}
    assert failed["MaximumRetryAttempts"] == 2


def test_a_sweep_that_fails_is_no_dead_letter() -> None:
    """There is nothing in it to redrive: the next sweep does what it did not."""
    (target,) = sam.resources("AWS::Events::Rule")["ReconcilerSweep"]["Targets"]
    assert "DeadLetterConfig" not in target
    failed = sam.resources("AWS::Lambda::EventInvokeConfig")["ReconcilerEventInvokeConfig"]
    assert not failed.get("DestinationConfig")


def test_events_and_sweeps_are_of_the_same_clusters() -> None:
    for name in ("Registrar", "Reconciler"):
        variables = sam.resources("AWS::Lambda::Function")[name]["Environment"]["Variables"]
        assert variables["TRAMO_CLUSTERS"] == {"Ref": "Clusters"}


def test_sweeps_do_not_overlap() -> None:
    rule = sam.resources("AWS::Events::Rule")["ReconcilerSweep"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert sam.functions()["Reconciler"].timeout < 60
    failed = sam.resources("AWS::Lambda::EventInvokeConfig")["ReconcilerEventInvokeConfig"]
    assert failed["MaximumRetryAttempts"] == 0
    # A new account may run ten functions at a time and cannot reserve any of that.
    functions = sam.resources("AWS::Lambda::Function").values()
    assert not [each for each in functions if "ReservedConcurrentExecutions" in each]


def test_the_publisher_reads_the_stream() -> None:
    (source,) = sam.resources("AWS::Lambda::EventSourceMapping").values()
    assert source["EventSourceArn"] == {"Fn::GetAtt": ["Registry", "StreamArn"]}
    assert source["FunctionName"] == {"Ref": "Publisher"}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"] is True
    assert source["StartingPosition"] == "TRIM_HORIZON"
    assert source["MaximumRetryAttempts"] > 0
    assert source["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}}


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        (task_key("b8f1c2d3e4f5061728394a5b6c7d8e9f"), True),
        (service_key("orders"), True),
        (alias_key("orders", 80), True),
        (HEAD, False),
        (part_key(7, 0), False),
        (changes_key(7, 1), False),
        (vip_key("127.254.0.2"), False),
        (claim_key("orders", "arn:aws:iam::123456789012:role/evil"), False),
        ("NAMESPACE#shop.local", False),
    ],
)
def test_the_publisher_is_called_for_what_it_publishes_and_not_by_itself(key: str, wanted: bool) -> None:
    (source,) = sam.resources("AWS::Lambda::EventSourceMapping").values()
    (only,) = source["FilterCriteria"]["Filters"]
    keys = {"pk": {"S": "NAMESPACE#shop.local"}, "sk": {"S": key}}
    record = {"eventName": "MODIFY", "dynamodb": {"Keys": keys, "NewImage": {**keys, "service": {"S": "orders"}}}}
    assert pattern.matches(json.loads(only["Pattern"]), record) is wanted
    assert bool(changes_of([record])) is wanted


def test_dead_letters_are_encrypted_and_stay_for_two_weeks() -> None:
    assert sam.resources("AWS::SQS::Queue") == {
        "DeadLetters": {"MessageRetentionPeriod": 14 * 24 * 3600, "SqsManagedSseEnabled": True}
    }


def test_the_outputs() -> None:
    outputs = sam.expand()["Outputs"]
    policies = ("SidecarPolicy", "ReadPolicy", "OperatePolicy", "DeployPolicy")
    others = {"ApiUrl", "TableName", "FeedTableName", "DashboardName", "DeadLettersUrl", "DomainTarget"}
    assert outputs.keys() == others | {f"{policy}Arn" for policy in policies}
    for policy in policies:
        assert outputs[f"{policy}Arn"]["Value"] == {"Ref": policy}


def test_nothing_is_named_so_that_a_stack_can_stand_twice_in_an_account() -> None:
    fixed = re.compile(r"^(TableName|FunctionName|RoleName|QueueName|LogGroupName|ManagedPolicyName)$")
    for name, resource in sam.expand()["Resources"].items():
        if resource["Type"] in ("AWS::Lambda::Permission", "AWS::Lambda::EventInvokeConfig"):
            continue  # FunctionName is a reference there
        if resource["Type"] == "AWS::Lambda::EventSourceMapping":
            continue
        assert not [key for key in resource["Properties"] if fixed.match(key)], name
