from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import lifecycle as life
from infra.local.definition import TaskDefinition, parse
from infra.local.lifecycle import advance, create
from infra.local.state import NEXT, Health, Status, StopCode, TaskState

SIDECAR = {
    "name": "sidecar",
    "dockerLabels": {"tramo.sidecar": "true"},
    "healthCheck": {"command": ["CMD", "probe"], "interval": 5},
}
APP = {"name": "app", "command": ["run"], "dependsOn": [{"containerName": "sidecar", "condition": "HEALTHY"}]}
HELPER = {"name": "helper", "command": ["run"], "essential": False}


def definition(*containers: dict[str, Any]) -> TaskDefinition:
    given = [{"image": "i", "memory": 64, **container} for container in containers]
    raw = {"family": "f", "networkMode": "awsvpc", "containerDefinitions": given}
    return parse(raw, revision=1, region="us-east-1")


class Task:
    """Drives a task by inputs and keeps what came out."""

    def __init__(self, *containers: dict[str, Any]) -> None:
        self.now = 100.0
        self.published: list[TaskState] = []
        self.commands: list[life.Command] = []
        self.state, commands = create(definition(*containers), self.now)
        self._keep(commands)

    def give(self, *inputs: life.Input) -> Task:
        self.commands = []
        for what in inputs:
            self.now += 1
            self.state, commands = advance(self.state, what, self.now)
            self._keep(commands)
        return self

    def _keep(self, commands: list[life.Command]) -> None:
        self.published += [c.state for c in commands if isinstance(c, life.Publish)]
        self.commands += [c for c in commands if not isinstance(c, life.Publish)]

    def seen(self) -> list[tuple[str, str]]:
        return [(state.status.value, state.desired.value) for state in self.published]


def running() -> Task:
    return Task(APP, SIDECAR).give(
        life.Placed(),
        life.InterfaceAttached(),
        life.ContainerStarted("sidecar"),
        life.HealthChanged("sidecar", Health.HEALTHY),
        life.ContainerStarted("app"),
    )


def test_a_task_becomes_running_step_by_step() -> None:
    task = Task(APP, SIDECAR)
    assert task.commands == [life.Place()]
    assert task.give(life.Placed()).commands == [life.AttachInterface()]
    assert task.give(life.InterfaceAttached()).commands == [life.StartContainer("sidecar")]
    assert task.give(life.ContainerStarted("sidecar")).commands == []
    assert task.state.status is Status.PENDING
    assert task.give(life.HealthChanged("sidecar", Health.HEALTHY)).commands == [life.StartContainer("app")]
    assert task.give(life.ContainerStarted("app")).commands == []
    assert task.seen() == [
        ("PROVISIONING", "RUNNING"),
        ("PENDING", "RUNNING"),  # the interface is being attached
        ("PENDING", "RUNNING"),  # it is attached
        ("PENDING", "RUNNING"),  # sidecar started
        ("PENDING", "RUNNING"),  # app started
        ("ACTIVATING", "RUNNING"),
        ("RUNNING", "RUNNING"),
    ]
    assert [state.attachment for state in task.published[:3]] == ["PRECREATED", "ATTACHING", "ATTACHED"]
    assert task.state.started_at == task.now


def test_a_stop_takes_the_app_first_and_what_it_depends_on_last() -> None:
    task = running().give(life.StopRequested(StopCode.USER_INITIATED, "enough"))
    assert task.seen()[-3:] == [("RUNNING", "STOPPED"), ("DEACTIVATING", "STOPPED"), ("STOPPING", "STOPPED")]
    assert (task.state.stop_code, task.state.stopped_reason) == (StopCode.USER_INITIATED, "enough")
    assert task.commands == [life.Terminate("app")]
    assert task.give(life.ContainerExited("app", 0)).commands == [life.Terminate("sidecar")]
    assert task.give(life.ContainerExited("sidecar", 0)).commands == [life.DetachInterface()]
    assert task.seen()[-1] == ("DEPROVISIONING", "STOPPED")
    task.give(life.InterfaceDetached())
    assert task.seen()[-1] == ("STOPPED", "STOPPED")
    assert task.state.attachment == "DELETED"
    assert task.state.stopped_at == task.now
    assert [c.exit_code for c in task.state.containers] == [0, 0]


def test_the_end_of_an_essential_container_stops_the_task_at_once() -> None:
    task = running().give(life.ContainerExited("app", 137))
    assert task.seen()[-3:] == [("RUNNING", "STOPPED"), ("DEACTIVATING", "STOPPED"), ("STOPPING", "STOPPED")]
    assert task.commands == [life.Terminate("sidecar")]
    assert task.state.stop_code is StopCode.ESSENTIAL_CONTAINER_EXITED
    assert task.state.container("app").exit_code == 137


def test_containers_that_depend_on_nothing_stop_together() -> None:
    task = Task(HELPER, {"name": "app", "command": ["run"]})
    task.give(life.Placed(), life.InterfaceAttached(), life.ContainerStarted("helper"), life.ContainerStarted("app"))
    task.give(life.StopRequested(StopCode.USER_INITIATED, "enough"))
    assert task.commands == [life.Terminate("helper"), life.Terminate("app")]


@pytest.mark.parametrize("condition", ["START", "HEALTHY"])
def test_a_chain_of_containers_stops_from_its_end(condition: str) -> None:
    def after(name: str, other: str) -> dict[str, Any]:
        return {**SIDECAR, "name": name, "dependsOn": [{"containerName": other, "condition": condition}]}

    task = Task(SIDECAR, after("gate", "sidecar"), after("app", "gate")).give(life.Placed(), life.InterfaceAttached())
    for name in ("sidecar", "gate", "app"):
        task.give(life.ContainerStarted(name), life.HealthChanged(name, Health.HEALTHY))
    task.give(life.StopRequested(StopCode.SERVICE_SCHEDULER_INITIATED, "scale in"))
    assert task.commands == [life.Terminate("app")]
    assert task.give(life.ContainerExited("app", 0)).commands == [life.Terminate("gate")]
    assert task.give(life.ContainerExited("gate", 0)).commands == [life.Terminate("sidecar")]


def test_the_order_to_stop_comes_once_however_the_others_end() -> None:
    task = running().give(life.StopRequested(StopCode.USER_INITIATED, "enough"))
    assert task.give(life.ContainerExited("sidecar", 1)).commands == []
    assert task.give(life.ContainerExited("app", 0)).commands == [life.DetachInterface()]


def test_a_network_interface_that_cannot_be_had_fails_the_task() -> None:
    task = Task(APP, SIDECAR).give(life.Placed())
    task.give(life.InterfaceFailed("no bridge"))
    assert task.state.stop_code is StopCode.TASK_FAILED_TO_START
    assert task.state.stopped_reason == "ResourceInitializationError: no bridge"
    assert task.commands == [life.DetachInterface()]


def test_the_end_of_another_container_does_not() -> None:
    task = Task(HELPER, {"name": "app", "command": ["run"]})
    task.give(life.Placed(), life.InterfaceAttached(), life.ContainerStarted("helper"), life.ContainerStarted("app"))
    version = task.state.version
    task.give(life.ContainerExited("helper", 1))
    assert (task.state.status, task.state.desired) == (Status.RUNNING, Status.RUNNING)
    assert task.state.version == version + 1


def test_a_container_waits_for_the_success_of_another() -> None:
    after = {"name": "app", "command": ["run"], "dependsOn": [{"containerName": "helper", "condition": "SUCCESS"}]}
    task = Task(after, HELPER).give(life.Placed(), life.InterfaceAttached(), life.ContainerStarted("helper"))
    assert task.give(life.ContainerExited("helper", 0)).commands == [life.StartContainer("app")]
    assert task.give(life.ContainerStarted("app")).state.status is Status.RUNNING


def test_a_dependency_that_can_no_longer_be_met_fails_the_task() -> None:
    after = {"name": "app", "command": ["run"], "dependsOn": [{"containerName": "helper", "condition": "SUCCESS"}]}
    task = Task(after, HELPER).give(life.Placed(), life.InterfaceAttached(), life.ContainerStarted("helper"))
    task.give(life.ContainerExited("helper", 1))
    assert task.state.stop_code is StopCode.TASK_FAILED_TO_START
    assert task.state.status is Status.DEPROVISIONING
    assert task.commands == [life.DetachInterface()]


def test_a_dependency_that_takes_too_long_fails_the_task() -> None:
    task = Task(APP, SIDECAR).give(life.Placed(), life.InterfaceAttached(), life.ContainerStarted("sidecar"))
    task.give(life.DependencyTimedOut("sidecar"))
    assert task.commands == [life.Terminate("sidecar")]
    assert (task.state.stop_code, task.state.stopped_reason) == (
        StopCode.TASK_FAILED_TO_START,
        "app waited too long for sidecar",
    )


def test_the_time_to_wait_does_not_matter_once_it_was_met() -> None:
    task = running()
    version = task.state.version
    assert task.give(life.DependencyTimedOut("sidecar")).state.version == version


def test_a_container_that_cannot_be_started_fails_the_task() -> None:
    task = Task(HELPER, {"name": "app", "command": ["run"]}).give(life.Placed(), life.InterfaceAttached())
    task.give(life.ContainerStarted("helper"), life.ContainerFailed("app", "CannotStartContainerError: no such file"))
    assert task.commands == [life.Terminate("helper")]
    assert task.state.stop_code is StopCode.TASK_FAILED_TO_START
    assert task.state.container("app").reason == "CannotStartContainerError: no such file"


def test_a_stop_while_a_container_starts_waits_for_it() -> None:
    task = Task(APP, SIDECAR).give(life.Placed(), life.InterfaceAttached())
    task.give(life.StopRequested(StopCode.USER_INITIATED, "enough"))
    assert (task.commands, task.state.status) == ([], Status.STOPPING)
    assert task.give(life.ContainerStarted("sidecar")).commands == [life.Terminate("sidecar")]
    assert task.give(life.ContainerExited("sidecar", 0)).commands == [life.DetachInterface()]


def test_a_stop_before_there_is_a_place() -> None:
    task = Task(APP, SIDECAR).give(life.StopRequested(StopCode.USER_INITIATED, "enough"))
    assert task.seen() == [("PROVISIONING", "RUNNING"), ("PROVISIONING", "STOPPED"), ("DEPROVISIONING", "STOPPED")]
    assert task.give(life.Placed(), life.InterfaceDetached()).seen()[-1] == ("STOPPED", "STOPPED")


def test_health_is_no_event_and_is_judged_on_essential_containers() -> None:
    task = running()
    before = task.state
    after = task.give(life.HealthChanged("sidecar", Health.UNHEALTHY)).state
    assert (before.health, after.health) == (Health.HEALTHY, Health.UNHEALTHY)
    assert before.version == after.version


def test_a_task_without_health_checks_has_no_health() -> None:
    assert Task({"name": "app", "command": ["run"]}).state.health is Health.UNKNOWN


INPUTS = st.one_of(
    st.just(life.Placed()),
    st.just(life.InterfaceAttached()),
    st.just(life.InterfaceFailed("no")),
    st.just(life.InterfaceDetached()),
    st.builds(life.StopRequested, st.sampled_from(StopCode), st.just("why")),
    *(
        st.sampled_from([life.ContainerStarted(name), life.ContainerExited(name, 1), life.DependencyTimedOut(name)])
        for name in ("app", "sidecar", "helper")
    ),
    st.builds(life.HealthChanged, st.just("sidecar"), st.sampled_from(Health)),
)


@given(st.lists(INPUTS, max_size=25))
def test_whatever_happens_statuses_follow_the_table_and_versions_rise(inputs: list[life.Input]) -> None:
    task = Task(APP, SIDECAR, HELPER)
    launched: set[str] = set()
    for what in inputs:
        named = getattr(what, "name", None)
        if isinstance(what, life.ContainerStarted | life.ContainerExited) and named not in launched:
            continue  # nothing starts or ends that was not told to start
        task.give(what)
        launched |= {c.name for c in task.commands if isinstance(c, life.StartContainer)}
    assert [state.version for state in task.published] == list(range(1, len(task.published) + 1))
    for before, after in zip(task.published, task.published[1:], strict=False):
        assert after.status is before.status or after.status in NEXT[before.status]
        assert not (before.desired is Status.STOPPED and after.desired is Status.RUNNING)
        assert after.updated_at >= before.updated_at
    if task.state.status is Status.STOPPED:
        assert not any(container.alive for container in task.state.containers)


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.RUNNING, Status.STOPPED)])
def test_every_status_can_be_left_and_leads_to_stopped(status: Status) -> None:
    reached, found = {status}, set()
    while reached:
        found |= reached
        reached = {after for before in reached for after in NEXT[before]} - found
    assert Status.STOPPED in found
