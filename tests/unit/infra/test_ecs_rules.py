from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import api_model, ecs_rules


def container(**changes: Any) -> dict[str, Any]:
    return {"name": "app", "image": "i", "memory": 64, **changes}


def document(*containers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"family": "f", "containerDefinitions": list(containers) or [container()], **changes}


def port(**changes: Any) -> dict[str, Any]:
    return document(container(portMappings=[{"containerPort": 8080, **changes}]))


FARGATE = {"requiresCompatibilities": ["FARGATE"]}


def test_what_ecs_takes() -> None:
    for good in (
        document(),
        port(name="web", appProtocol="http2", hostPort=8080, protocol="tcp"),
        port(containerPort=0),
        document(cpu="256", memory="512", **FARGATE),
        document(cpu=".25 vCPU", memory="0.5 GB", **FARGATE),
        document(container(memoryReservation=32), container(name="b"), memory="128"),
    ):
        assert ecs_rules.task_definition(good) == []
        assert api_model.mistakes("RegisterTaskDefinition", good) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            port(containerPort=99999),
            "containerDefinitions[0].portMappings[0].containerPort must be 0 to 65535, not 99999",
        ),
        (port(containerPort=-1), "containerPort must be 0 to 65535"),
        (port(hostPort=80), "hostPort must be containerPort (8080) in awsvpc mode"),
        (port(protocol="sctp"), "protocol must be tcp or udp"),
        (port(appProtocol="HTTP/1.1"), "appProtocol must be one of http, http2, grpc or absent, not 'HTTP/1.1'"),
        (port(name="Web"), "name must be 1 to 64 small letters"),
        (document(container(portMappings=[{}])), "containerPort is missing"),
        (
            document(container(portMappings=[{"containerPort": n, "name": "web"} for n in (1, 2)])),
            "portMappings[1].name 'web' is the name of another port",
        ),
        (document(container(name="a b")), "containerDefinitions[0].name must be"),
        (document(container(image="")), "containerDefinitions[0].image is missing"),
        (document(container(cpu=-1)), "cpu must be 0 or more"),
        (document({"name": "app", "image": "i"}), "at least one of 'memory' or 'memoryReservation' must be specified"),
        (document(container(memory=4)), "memory must be 6 or more"),
        (document(container(memoryReservation=65)), "memoryReservation 65 is more than memory 64"),
        (document(container(), container(name="b"), memory="100"), "need 128 MiB together, the task has 100"),
        (document(container(memory=200), memory="100"), "memory 200 is more than the task's, 100"),
        (document(**FARGATE), "Fargate requires that 'cpu' be defined at the task level"),
        (
            document(cpu="256", memory="128", **FARGATE),
            "No Fargate configuration exists for given values: 256 CPU, 128 memory",
        ),
        (document(cpu="many"), "cpu is 'many', which is no amount"),
        (document(memory="1 vCPU"), "memory is '1 vCPU'"),
    ],
)
def test_what_ecs_refuses_in_a_task_definition(bad: dict[str, Any], message: str) -> None:
    assert message in "; ".join(ecs_rules.task_definition(bad))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            port(containerPort="8080"),
            'containerDefinitions[0].portMappings[0].containerPort must be a whole number, not "8080"',
        ),
        (port(AppProtocol="http"), "AppProtocol is not known: did you mean appProtocol?"),
        ({"containerDefinitions": []}, "family is missing"),
        (document(dependson=[]), "dependson is not known: known are"),
        (
            document(container(dockerLabels={"tramo.service-connect": {}})),
            "containerDefinitions[0].dockerLabels.tramo.service-connect must be a string, not {}; "
            "JSON in a label is written as a string",
        ),
    ],
)
def test_what_does_not_fit_the_model_of_the_api(bad: dict[str, Any], message: str) -> None:
    assert message in "; ".join(api_model.mistakes("RegisterTaskDefinition", bad))


def service(**changes: Any) -> dict[str, Any]:
    return {"serviceName": "s", "taskDefinition": "app", **changes}


def limits(least: int, most: int) -> dict[str, Any]:
    return service(deploymentConfiguration={"minimumHealthyPercent": least, "maximumPercent": most})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"taskDefinition": "app"}, "serviceName must be"),
        ({"serviceName": "s"}, "taskDefinition is missing"),
        (service(desiredCount=-1), "desiredCount must be 0 to 5,000"),
        (service(desiredCount=5001), "the quota of tasks per service"),
        (limits(-1, 200), "minimumHealthyPercent must be 0 to 100"),
        (limits(100, 201), "maximumPercent must be 100 to 200"),
        (limits(100, 100), "no deployment could replace a task"),
        (service(deploymentConfiguration={"strategy": "BLUE_GREEN"}), "only ROLLING"),
        (service(serviceConnectConfiguration={"enabled": True}), "docker label tramo.service-connect"),
        (service(schedulingStrategy="DAEMON"), "REPLICA"),
        (service(deploymentController={"type": "EXTERNAL"}), "must be ECS"),
    ],
)
def test_what_is_refused_in_a_service(bad: dict[str, Any], message: str) -> None:
    assert message in "; ".join(ecs_rules.service(bad))


def test_a_service_with_defaults_is_taken() -> None:
    assert ecs_rules.service(service()) == ecs_rules.service(limits(50, 150)) == []


@given(st.integers())
def test_a_port_is_taken_if_and_only_if_tcp_has_it(number: int) -> None:
    assert (ecs_rules.task_definition(port(containerPort=number)) == []) == (0 <= number <= 65535)
