"""The cluster with real processes: shell commands that do next to nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.cluster import Cluster, EcsError
from infra.local.pattern import matches
from infra.local.runner import TaskRunner
from infra.local.scheduler import Rollout
from infra.local.state import Status, StopCode
from infra.local.template import load
from registry.domain.service_events import parse_service_event
from tests.support.control_plane.local_cluster import SLEEP, cluster, container, definition, until


def run(
    tmp_path: Path,
    work: Callable[[Cluster], Awaitable[None]],
    events: list[dict[str, Any]] | None = None,
    of_services: list[dict[str, Any]] | None = None,
    **times: Any,
) -> None:
    async def main() -> None:
        async with cluster(tmp_path, events, of_services, **times) as made:
            await work(made)

    asyncio.run(main())


def service(count: int = 1, **changes: Any) -> dict[str, Any]:
    return {"serviceName": "s", "taskDefinition": "app", "desiredCount": count, **changes}


def living(made: Cluster) -> list[TaskRunner]:
    return [r for r in made.tasks.values() if r.state.status is Status.RUNNING and r.state.desired is Status.RUNNING]


async def steady(made: Cluster) -> None:
    assert await made.until(made.steady, 20.0), [r.state for r in made.tasks.values()]


def test_a_service_reaches_its_steady_state_and_says_so(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        found = made.create_service(service(2))
        await steady(made)
        assert len(living(made)) == 2
        assert len({runner.identity.address for runner in living(made)}) == 2
        assert [runner.identity.zone[-1] for runner in living(made)] == ["a", "b"]
        assert "steady state" in found.events[0]["message"]

    run(tmp_path, work)


def test_events_tell_the_whole_life(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []

    async def work(made: Cluster) -> None:
        made.register(definition())
        runner = made.run_task("app")
        await until(lambda: runner.state.status is Status.RUNNING, "RUNNING")
        made.stop_task(runner.identity.task_id, "enough")
        await asyncio.wait_for(runner.stopped.wait(), 20)

    run(tmp_path, work, events)
    seen = [(detail["lastStatus"], detail["desiredStatus"]) for detail in events]
    assert list(dict.fromkeys(seen)) == [
        ("PROVISIONING", "RUNNING"),
        ("PENDING", "RUNNING"),
        ("ACTIVATING", "RUNNING"),
        ("RUNNING", "RUNNING"),
        ("RUNNING", "STOPPED"),
        ("DEACTIVATING", "STOPPED"),
        ("STOPPING", "STOPPED"),
        ("DEPROVISIONING", "STOPPED"),
        ("STOPPED", "STOPPED"),
    ]
    assert [detail["version"] for detail in events] == list(range(1, len(events) + 1))
    assert events[-1]["containers"][0]["exitCode"] == 0
    assert events[-1]["stoppedReason"] == "enough"


def test_services_tell_what_happens_to_them(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    async def work(made: Cluster) -> None:
        made.register(definition())
        made.create_service(service(1))
        await steady(made)
        made.update_service("s", desired_count=2, definition=None, force=False)
        await steady(made)
        made.update_service("s", desired_count=None, definition=None, force=True)
        await steady(made)

    run(tmp_path, work, of_services=told)
    kept = [parse_service_event(event) for event in told]
    deployments = [event.deployment for event in kept if event is not None and event.deployment]
    assert [(event.kind, event.name, event.service, event.level) for event in kept if event is not None] == [
        (f"ECS {kind}", f"SERVICE_{name}", "test/s", "INFO")
        for kind, name in (
            ("Deployment State Change", "DEPLOYMENT_IN_PROGRESS"),
            ("Service Action", "STEADY_STATE"),
            ("Deployment State Change", "DEPLOYMENT_COMPLETED"),
            ("Service Action", "DESIRED_COUNT_UPDATED"),
            ("Service Action", "STEADY_STATE"),
            ("Deployment State Change", "DEPLOYMENT_IN_PROGRESS"),
            ("Service Action", "STEADY_STATE"),
            ("Deployment State Change", "DEPLOYMENT_COMPLETED"),
        )
    ]
    assert deployments[0] == deployments[1] != deployments[2] == deployments[3]
    patterns = [pattern for function in load().functions for pattern in function.patterns]
    assert all(any(matches(pattern, event) for pattern in patterns) for event in told)


def test_a_service_whose_tasks_fail_says_so(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    async def work(made: Cluster) -> None:
        waits = container(dependsOn=[{"containerName": "first", "condition": "SUCCESS"}])
        made.register(definition(container("exit 3", name="first", essential=False), waits))
        made.create_service(service(1))
        await until(lambda: len(told) > 1, "the failed start")

    run(tmp_path, work, of_services=told)
    assert (told[1]["detail"]["eventName"], told[1]["detail"]["eventType"]) == ("SERVICE_TASK_START_IMPAIRED", "WARN")
    assert told[1]["detail"]["reason"]


def test_a_task_that_dies_is_replaced(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        made.create_service(service())
        await steady(made)
        [first] = living(made)
        first.kill("app")
        await asyncio.wait_for(first.stopped.wait(), 20)
        assert first.state.stop_code is StopCode.ESSENTIAL_CONTAINER_EXITED
        assert first.state.container("app").exit_code == 137
        await until(lambda: len(living(made)) == 1, "the next task")
        assert living(made)[0].identity.address != first.identity.address

    run(tmp_path, work)


def test_scaling(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        made.create_service(service(1))
        await steady(made)
        for count in (3, 1, 0):
            made.update_service("s", desired_count=count, definition=None, force=False)
            await steady(made)
            assert len(living(made)) == count

    run(tmp_path, work)


def test_a_rolling_deployment_always_has_enough_tasks(tmp_path: Path) -> None:
    running: list[int] = []

    async def work(made: Cluster) -> None:
        made.register(definition())
        made.register(definition(container(environment=[{"name": "V", "value": "2"}])))
        found = made.create_service(service(2, taskDefinition="app:1"))
        await steady(made)
        made.update_service("s", desired_count=None, definition="app:2", force=False)

        def done() -> bool:
            running.append(len(living(made)))
            return made.steady()

        assert await made.until(done, 20.0)
        assert {runner.identity.definition.revision for runner in living(made)} == {2}
        assert [deployment.definition_arn[-5:] for deployment in found.deployments] == ["app:2"]

    run(tmp_path, work)
    assert min(running) >= 2
    assert max(running) <= 4


def test_a_deployment_can_be_forced(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        made.create_service(service())
        await steady(made)
        [before] = living(made)
        made.update_service("s", desired_count=None, definition=None, force=True)
        await steady(made)
        [after] = living(made)
        assert after.identity.task_id != before.identity.task_id

    run(tmp_path, work)


def test_a_container_waits_until_another_is_healthy(tmp_path: Path) -> None:
    probe = {"command": ["CMD-SHELL", f"test -e {tmp_path}/healthy"], "interval": 5, "startPeriod": 60}
    sidecar = container(f"echo sidecar >> {tmp_path}/order; {SLEEP}", name="sidecar", healthCheck=probe)
    app = container(
        f"echo app >> {tmp_path}/order; {SLEEP}", dependsOn=[{"containerName": "sidecar", "condition": "HEALTHY"}]
    )

    async def work(made: Cluster) -> None:
        made.register(definition(app, sidecar))
        runner = made.run_task("app")
        await until(lambda: runner.state.container("sidecar").status is Status.RUNNING, "the sidecar")
        assert runner.state.status is Status.PENDING
        assert (tmp_path / "order").read_text() == "sidecar\n"
        (tmp_path / "healthy").touch()
        await until(lambda: runner.state.status is Status.RUNNING, "RUNNING")
        await until(lambda: (tmp_path / "order").read_text() == "sidecar\napp\n", "the app")

    (tmp_path / "order").touch()

    async def wait_for_order(made: Cluster) -> None:
        await work(made)

    run(tmp_path, wait_for_order)


def test_a_dependency_that_never_gets_healthy_fails_the_task(tmp_path: Path) -> None:
    probe = {"command": ["CMD", "false"], "interval": 5, "startPeriod": 60}
    sidecar = container(name="sidecar", healthCheck=probe)
    app = container(dependsOn=[{"containerName": "sidecar", "condition": "HEALTHY"}])

    async def work(made: Cluster) -> None:
        made.register(definition(app, sidecar))
        runner = made.run_task("app")
        await asyncio.wait_for(runner.stopped.wait(), 20)
        assert runner.state.stop_code is StopCode.TASK_FAILED_TO_START

    run(tmp_path, work, start_timeout_seconds=0.3)


def test_what_ignores_sigterm_is_killed_after_its_stop_timeout(tmp_path: Path) -> None:
    stubborn = container("trap '' TERM; echo ready; while :; do sleep 0.05; done", stopTimeout=2)

    async def work(made: Cluster) -> None:
        made.register(definition(stubborn))
        runner = made.run_task("app")
        await until(lambda: runner.log("app").exists() and "ready" in runner.log("app").read_text(), "the trap")
        made.stop_task(runner.identity.task_id, None)
        await asyncio.wait_for(runner.stopped.wait(), 20)
        assert runner.state.container("app").exit_code == 137

    run(tmp_path, work)


def test_a_command_that_is_not_there_fails_the_task_and_slows_the_service_down(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition(container(command=["/nowhere/app"])))
        found = made.create_service(service())
        await until(lambda: found.primary.failed_tasks == 1, "the first failure")
        [runner] = made.tasks.values()
        assert runner.state.stop_code is StopCode.TASK_FAILED_TO_START
        assert "CannotStartContainerError" in str(runner.state.container("app").reason)
        assert "unable to start" in found.events[0]["message"]
        await until(lambda: found.primary.failed_tasks == 2, "the second, a second later")

    run(tmp_path, work)


def test_an_app_that_ends_at_once_never_makes_its_service_steady(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition(container("exit 3")))
        found = made.create_service(service())
        await until(lambda: found.primary.failed_tasks >= 2, "two failures, the second after a pause")
        assert not made.steady()
        assert found.last_failure is not None
        assert (found.last_failure.container, found.last_failure.exit_code) == ("app", 3)

    run(tmp_path, work, settle_seconds=5.0)


def test_a_task_that_ran_for_a_while_is_replaced_without_counting_as_failed(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        found = made.create_service(service())
        await steady(made)
        living(made)[0].kill("app")
        await until(lambda: len(made.tasks) == 2, "the next task")
        assert found.primary.failed_tasks == 0

    run(tmp_path, work)


def breaker(*, rollback: bool) -> dict[str, Any]:
    return {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": rollback}}}


def test_the_circuit_breaker_rolls_a_deployment_back_whose_tasks_fail(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []

    async def work(made: Cluster) -> None:
        made.register(definition())
        made.register(definition(container(command=["/nowhere/app"])))
        found = made.create_service(service(taskDefinition="app:1", **breaker(rollback=True)))
        await steady(made)
        [before] = living(made)
        made.update_service("s", desired_count=None, definition="app:2", force=False)
        await until(lambda: found.primary.definition_arn.endswith("app:1"), "the roll-back")
        await steady(made)
        assert living(made) == [before], "the task that worked was never touched"
        assert found.primary.rollout is Rollout.COMPLETED
        assert found.primary.reason == "completed."

    run(tmp_path, work, of_services=told)
    names = [event["detail"]["eventName"] for event in told if "Deployment" in event["detail-type"]]
    assert names == [
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_DEPLOYMENT_COMPLETED",
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_DEPLOYMENT_FAILED",
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_DEPLOYMENT_COMPLETED",
    ]
    [failed] = [event for event in told if event["detail"]["eventName"] == "SERVICE_DEPLOYMENT_FAILED"]
    assert failed["detail"]["eventType"] == "ERROR"
    assert "circuit breaker" in failed["detail"]["reason"]
    assert all(parse_service_event(event) is not None for event in told)


def test_without_rollback_the_circuit_breaker_leaves_what_there_is(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        made.register(definition(container(command=["/nowhere/app"])))
        found = made.create_service(service(taskDefinition="app:1", **breaker(rollback=False)))
        await steady(made)
        made.update_service("s", desired_count=None, definition="app:2", force=False)
        await until(lambda: found.primary.rollout is Rollout.FAILED, "the end of the deployment")
        assert found.primary.definition_arn.endswith("app:2")
        assert len(living(made)) == 1
        assert not made.steady()

    run(tmp_path, work)


def test_an_unhealthy_task_is_replaced(tmp_path: Path) -> None:
    probe = {"command": ["CMD-SHELL", "test ! -e sick"], "interval": 5, "retries": 1}

    async def work(made: Cluster) -> None:
        made.register(definition(container(healthCheck=probe)))
        made.create_service(service())
        (tmp_path / "sick").touch()
        await until(lambda: len(made.tasks) > 1, "a replacement")
        (tmp_path / "sick").unlink()
        await steady(made)
        first = next(iter(made.tasks.values()))
        assert first.state.stop_code is StopCode.SERVICE_SCHEDULER_INITIATED

    run(tmp_path, work)


def test_overrides_of_a_task(tmp_path: Path) -> None:
    script = "echo $COLOUR $HOST"

    async def work(made: Cluster) -> None:
        made.register(definition(container(script, environment=[{"name": "COLOUR", "value": "red"}])))
        plain = made.run_task("app")
        other = made.run_task("app", overrides=[{"name": "app", "environment": [{"name": "COLOUR", "value": "blue"}]}])
        for runner, colour in ((plain, "red"), (other, "blue")):
            await asyncio.wait_for(runner.stopped.wait(), 20)
            assert runner.log("app").read_text() == f"{colour} {runner.identity.address}\n"
        with pytest.raises(EcsError, match="not a container"):
            made.run_task("app", overrides=[{"name": "other"}])

    run(tmp_path, work)


def test_stop_ends_every_task_and_starts_no_other(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        made.create_service(service(2))
        await steady(made)
        async with asyncio.timeout(20):
            await made.stop()
        assert {runner.state.status for runner in made.tasks.values()} == {Status.STOPPED}
        assert len(made.tasks) == 2

    run(tmp_path, work)


def test_stop_in_the_moment_of_a_change(tmp_path: Path) -> None:
    probe = {"command": ["CMD", "true"], "interval": 5}

    async def work(made: Cluster) -> None:
        made.register(definition(container(healthCheck=probe)))
        made.create_service(service(1))
        await steady(made)
        made.update_service("s", desired_count=2, definition=None, force=False)
        async with asyncio.timeout(20):
            await made.stop()

    run(tmp_path, work, probe_seconds=0.0)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"serviceName": ""}, "InvalidParameterException"),
        (service(taskDefinition="other"), "ClientException"),
        (service(taskDefinition="app:7"), "ClientException"),
        (service(-1), "InvalidParameterException"),
        (service(True), "InvalidParameterException"),
    ],
)
def test_services_that_ecs_would_refuse(tmp_path: Path, request_: dict[str, Any], code: str) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        with pytest.raises(EcsError) as caught:
            made.create_service(request_)
        assert caught.value.code == code

    run(tmp_path, work)


def test_a_machine_takes_as_many_tasks_as_it_holds_and_says_so(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        made.register(definition())
        made.create_service(service(1))
        other = {**service(1), "serviceName": "other"}
        with pytest.raises(EcsError, match=r"it holds 2 tasks .* 1 are wanted by other services"):
            made.create_service({**other, "desiredCount": 2})
        made.create_service(other)
        with pytest.raises(EcsError, match="desiredCount 1000 is too much for this machine"):
            made.update_service("s", desired_count=1000, definition=None, force=False)
        with pytest.raises(EcsError, match="the quota of tasks per service"):
            made.update_service("s", desired_count=5001, definition=None, force=False)
        assert made.service("s").desired_count == 1

    run(tmp_path, work, capacity=2)


def test_definitions_and_tasks_are_found_by_their_names(tmp_path: Path) -> None:
    async def work(made: Cluster) -> None:
        first, second = made.register(definition()), made.register(definition())
        assert made.definition("app") is second
        assert made.definition("app:1") is made.definition(first.arn) is first
        runner = made.run_task("app:1")
        identity = runner.identity
        assert made.task(identity.arn) is made.task(identity.task_id) is made.task(identity.task_id[:6]) is runner
        for wrong in ("", "zzz"):
            with pytest.raises(EcsError):
                made.task(wrong)

    run(tmp_path, work)


def test_the_state_can_be_written_as_json(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []

    async def work(made: Cluster) -> None:
        made.register(definition())
        await until(lambda: made.run_task("app").state.version > 0, "an event")

    run(tmp_path, work, events)
    json.dumps(events)
