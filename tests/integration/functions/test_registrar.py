from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

import pytest
from botocore.exceptions import ClientError

from registrar.app import handle, settings
from registry import metric_names
from registry.aws.ecs import Lookups
from registry.domain.rules import State, state_of
from registry.dynamodb.service_store import ServiceStore
from registry.dynamodb.store import Store, open_store
from registry.dynamodb.vip_store import VipsExhaustedError
from tests.support.control_plane import aws
from tests.support.control_plane.ecs import NAMESPACE, FakeEcs, event, failure, life, task_definition

NOW = 1_795_345_200.0


def logged(caplog: pytest.LogCaptureFixture, message: str) -> logging.LogRecord:
    found = [each for each in caplog.records if each.getMessage().startswith(message)]
    assert len(found) == 1, [each.getMessage() for each in caplog.records]
    return found[0]


@pytest.mark.parametrize("name", ["standalone", "scheduled", "ec2_awsvpc", "managed_instances", "spot_interruption"])
def test_every_task_may_join(store: Store, lookups: Lookups, name: str) -> None:
    assert handle(event(name), store, lookups, NOW) is metric_names.EVENTS_APPLIED
    assert handle(event(name), store, lookups, NOW) is metric_names.EVENTS_STALE
    (record,) = store.tasks.all(NAMESPACE)
    detail = event(name)["detail"]
    assert (record.group, record.started_by, record.launch_type) == (
        detail["group"],
        detail["startedBy"],
        detail["launchType"],
    )


@pytest.mark.parametrize(("named", "other"), [(None, "blue"), ("blue", "Tramo")])
def test_a_stack_registers_the_tasks_of_its_own_mesh_only(store: Store, named: str | None, other: str) -> None:
    label = {"namespace": NAMESPACE, "services": [{"portName": "http"}]} | ({"mesh": named} if named else {})
    ecs = FakeEcs(task_definition(raw_label=json.dumps(label)))
    elsewhere, here = (Lookups(lambda: ecs, lambda: ecs, mesh) for mesh in (other, named or "Tramo"))
    assert handle(event("fargate_running"), store, elsewhere, NOW) is metric_names.EVENTS_IGNORED
    assert store.tasks.namespaces() == []
    assert handle(event("fargate_running"), store, here, NOW) is metric_names.EVENTS_APPLIED
    assert store.tasks.namespaces() == [NAMESPACE]


def test_a_definition_is_read_once(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    for each in life("aa") + life("bb"):
        handle(each, store, lookups, NOW)
    assert ecs.count("describe_task_definition") == 1
    assert ecs.count("describe_container_instances") == 0


def test_a_stop_before_the_start_leaves_a_tombstone(store: Store, lookups: Lookups) -> None:
    events = life("aa")
    assert handle(events[-1], store, lookups, NOW) is metric_names.EVENTS_APPLIED
    assert handle(events[3], store, lookups, NOW) is metric_names.EVENTS_STALE
    found = store.tasks.get(NAMESPACE, "aa")
    assert found is not None
    assert state_of(found) is State.GONE


def test_a_failed_start_is_a_tombstone(store: Store, lookups: Lookups) -> None:
    handle(event("failed_start"), store, lookups, NOW)
    (record,) = store.tasks.all(NAMESPACE)
    assert (state_of(record), record.stop_code) == (State.GONE, "TaskFailedToStart")


def test_an_address_that_comes_late_is_taken_later(store: Store, lookups: Lookups) -> None:
    handle(event("eni_late"), store, lookups, NOW)
    (record,) = store.tasks.all(NAMESPACE)
    assert record.address is None
    handle(event("fargate_running"), store, lookups, NOW)
    (record,) = store.tasks.all(NAMESPACE)
    assert record.address == "10.0.1.163"


def test_secrets_in_overrides_are_neither_stored_nor_logged(
    store: Store, lookups: Lookups, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="tramo-test")
    handle(event("overrides_with_secrets"), store, lookups, NOW)
    (record,) = store.tasks.all(NAMESPACE)
    assert "do-not-keep" not in repr(record)
    assert "do-not-keep" not in caplog.text + capfd.readouterr().out


def bridge_ecs() -> FakeEcs:
    ecs = FakeEcs(task_definition("orders-bridge:2", network_mode="bridge"))
    instance = event("ec2_bridge")["detail"]["containerInstanceArn"]
    ecs.instances[instance] = "i-0123"
    ecs.addresses["i-0123"] = "10.0.9.9"
    return ecs


def test_a_bridge_task_is_reached_by_its_hosts_address_and_port(store: Store) -> None:
    ecs = bridge_ecs()
    lookups = Lookups(lambda: ecs, lambda: ecs)
    handle(event("ec2_bridge_bindings_late"), store, lookups, NOW)
    handle(event("ec2_bridge"), store, lookups, NOW)
    (record,) = store.tasks.all(NAMESPACE)
    assert (record.address, record.endpoints[0].port) == ("10.0.9.9", 32770)
    assert (ecs.count("describe_container_instances"), ecs.count("describe_instances")) == (1, 1)


@pytest.mark.parametrize("missing", ["instances", "addresses"])
def test_a_host_that_is_gone_leaves_the_address_unknown(store: Store, missing: str) -> None:
    ecs = bridge_ecs()
    getattr(ecs, missing).clear()
    assert handle(event("ec2_bridge"), store, Lookups(lambda: ecs, lambda: ecs), NOW) is metric_names.EVENTS_APPLIED
    (record,) = store.tasks.all(NAMESPACE)
    assert record.address is None


def test_a_stopped_bridge_task_needs_no_host(store: Store) -> None:
    ecs = bridge_ecs()
    stopped = event("ec2_bridge")
    stopped["detail"].update(lastStatus="STOPPED", desiredStatus="STOPPED", version=9)
    handle(stopped, store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert ecs.count("describe_container_instances") == 0


def test_tasks_without_label_are_ignored(store: Store) -> None:
    definition = task_definition()
    definition["containerDefinitions"][0].pop("dockerLabels")
    ecs = FakeEcs(definition)
    metric = handle(event("fargate_running"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert metric is metric_names.EVENTS_IGNORED
    assert store.tasks.namespaces() == []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (event("fargate_running") | {"detail-type": "ECS Something Else"}, "detail-type"),
        ({"hello": "world"}, "source"),
        ([], "$"),
        (event("fargate_running") | {"detail": {"taskArn": "arn:x"}}, "detail.version"),
    ],
)
def test_what_is_no_task_event_is_counted_and_named(
    store: Store, lookups: Lookups, caplog: pytest.LogCaptureFixture, bad: Any, field: str
) -> None:
    assert handle(bad, store, lookups, NOW) is metric_names.EVENTS_MALFORMED
    record = logged(caplog, "not an ECS event of ours")
    assert record.__dict__["field"] == field


def test_a_mistake_in_a_label_is_counted_and_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    ecs = FakeEcs(task_definition(services=[{"portName": "htp"}]))
    lookups = Lookups(lambda: ecs, lambda: ecs)
    for _ in range(2):
        assert handle(event("fargate_running"), store, lookups, NOW) is metric_names.EVENTS_REJECTED
    assert ecs.count("describe_task_definition") == 1
    record = [each for each in caplog.records if "has a mistake" in each.getMessage()][-1].__dict__
    assert record["task_definition"] == "orders:7"
    assert record["container"] == "app"
    assert record["path"] == "label tramo.service-connect at $.services[0].portName"
    assert record["mistake"].startswith('no port mapping is named "htp"')
    assert store.tasks.namespaces() == []


def test_an_unknown_definition_is_counted_and_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    ecs = FakeEcs()
    metric = handle(event("fargate_running"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert metric is metric_names.EVENTS_REJECTED
    record = logged(caplog, "the task is left out: its task definition is unknown")
    assert "orders:7: ECS does not know it" in record.__dict__["mistake"]


@pytest.mark.parametrize("code", ["ThrottlingException", "ServerException", "AccessDeniedException"])
def test_a_failing_call_is_raised_for_lambda_to_try_again(
    store: Store, lookups: Lookups, ecs: FakeEcs, code: str
) -> None:
    ecs.fail["describe_task_definition"] = failure(code)
    with pytest.raises(ClientError, match=code):
        handle(event("fargate_running"), store, lookups, NOW)
    del ecs.fail["describe_task_definition"]
    assert handle(event("fargate_running"), store, lookups, NOW) is metric_names.EVENTS_APPLIED


def test_a_failing_host_lookup_is_raised(store: Store) -> None:
    ecs = bridge_ecs()
    ecs.fail["describe_instances"] = failure("RequestLimitExceeded", operation="DescribeInstances")
    with pytest.raises(ClientError, match="RequestLimitExceeded"):
        handle(event("ec2_bridge"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert list(store.tasks.all(NAMESPACE)) == []


@pytest.mark.parametrize("kind", ["nested", "namespace"])
def test_poison_in_a_label_is_rejected_and_named(store: Store, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    nested = '{"namespace": "shop.local", "unknown": ' + 1000 * "[" + 1000 * "]" + "}"
    arguments: dict[str, Any] = {"nested": {"raw_label": nested}, "namespace": {"namespace": "n" * 1020}}[kind]
    ecs = FakeEcs(task_definition(**arguments))
    metric = handle(event("fargate_running"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert metric is metric_names.EVENTS_REJECTED
    line = logged(caplog, "the task is left out").__dict__
    assert line["path"].startswith("label tramo.service-connect at $")
    assert line["mistake"]
    assert line["remedy"]


def test_what_cannot_be_registered_is_rejected_and_named(
    store: Store, lookups: Lookups, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(ServiceStore):
        def declare(self, *_: Any, **__: Any) -> Any:
            raise VipsExhaustedError("none is free")

    full = dataclasses.replace(store, services=Full(store.services._table, store.owners))
    assert handle(event("fargate_running"), full, lookups, NOW) is metric_names.EVENTS_REJECTED
    assert logged(caplog, "the task is left out").__dict__["mistake"] == "none is free"


def test_a_task_on_a_machine_outside_of_ec2_is_rejected(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    ecs = bridge_ecs()
    ecs.instances = dict.fromkeys(ecs.instances, "mi-0123456789abcdef0")
    lookups = Lookups(lambda: ecs, lambda: ecs)
    for _ in range(2):
        assert handle(event("ec2_bridge"), store, lookups, NOW) is metric_names.EVENTS_REJECTED
    assert (ecs.count("describe_container_instances"), ecs.count("describe_instances")) == (1, 0)
    assert "ECS Anywhere" in caplog.records[-1].__dict__["mistake"]


@pytest.mark.parametrize("error", ["ThrottlingException", "ClientException"])
@pytest.mark.parametrize(("place", "expected"), [(4, State.DRAINING), (7, State.GONE)])
def test_a_stop_of_a_registered_task_needs_no_definition(
    store: Store, lookups: Lookups, error: str, place: int, expected: State
) -> None:
    """In a process that has not read the definition, from an ECS that is throttled or knows it no longer."""
    events = life("aa")
    handle(events[3], store, lookups, NOW)
    ecs = FakeEcs()
    ecs.fail["describe_task_definition"] = failure(error)
    cold = Lookups(lambda: ecs, lambda: ecs)
    assert handle(events[place], store, cold, NOW) is metric_names.EVENTS_APPLIED
    assert handle(events[4], store, cold, NOW) is metric_names.EVENTS_STALE
    found = store.tasks.get(NAMESPACE, "aa")
    assert found is not None
    assert (state_of(found), found.version) == (expected, place + 1)


@pytest.mark.parametrize("why", ["another mesh", "a mistake"])
def test_a_stop_of_a_registered_task_needs_no_definition_that_is_ours(store: Store, lookups: Lookups, why: str) -> None:
    """The stack was updated since: with another Mesh, or with a stricter reader of labels."""
    events = life("aa")
    handle(events[3], store, lookups, NOW)
    ecs = FakeEcs(task_definition(raw_label="{") if why == "a mistake" else task_definition())
    later = Lookups(lambda: ecs, lambda: ecs, "Other" if why == "another mesh" else "Tramo")
    refused = handle(life("bb")[3], store, later, NOW)  # of the same definition, which is remembered from here on
    assert refused in (metric_names.EVENTS_IGNORED, metric_names.EVENTS_REJECTED)
    assert handle(events[7], store, later, NOW) is metric_names.EVENTS_APPLIED
    found = store.tasks.get(NAMESPACE, "aa")
    assert found is not None
    assert state_of(found) is State.GONE


def test_a_stop_is_the_same_with_and_without_the_definition(
    dynamodb_endpoint: str, store: Store, lookups: Lookups
) -> None:
    other = open_store(aws.create_table(dynamodb_endpoint), aws.REGION, dynamodb_endpoint)
    nobody = FakeEcs()
    for each_store in (store, other):
        handle(life("aa")[3], each_store, lookups, NOW)
    for each in life("aa")[4:]:
        handle(each, store, lookups, NOW)
        handle(each, other, Lookups(lambda: nobody, lambda: nobody), NOW)
        assert store.tasks.get(NAMESPACE, "aa") == other.tasks.get(NAMESPACE, "aa")


def test_a_cluster_that_is_not_in_the_list_is_ignored(store: Store, lookups: Lookups, ecs: FakeEcs) -> None:
    listed = dataclasses.replace(settings, clusters=("other", "arn:aws:ecs:us-east-1:123456789012:cluster/third"))
    metric = handle(event("fargate_running"), store, lookups, NOW, listed.has_cluster)
    assert metric is metric_names.EVENTS_IGNORED
    assert (store.tasks.namespaces(), ecs.calls) == ([], [])
    for name in ("example", "arn:aws:ecs:us-east-1:123456789012:cluster/example"):
        listed = dataclasses.replace(settings, clusters=(name,))
        handle(event("fargate_running"), store, lookups, NOW, listed.has_cluster)
    assert store.tasks.namespaces() == [NAMESPACE]
