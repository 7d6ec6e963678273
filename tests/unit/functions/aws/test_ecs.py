from __future__ import annotations

import pytest

from registry.aws import ecs as module
from registry.aws.ecs import Lookups, UnknownTaskDefinitionError
from registry.domain.offer import DefinitionError
from tests.support.control_plane.ecs import FakeEcs, definition_arn, failure, task_definition


def test_clients_are_made_when_first_needed() -> None:
    made: list[str] = []
    fake = FakeEcs(task_definition())

    def ecs() -> FakeEcs:
        made.append("ecs")
        return fake

    lookups = Lookups(ecs, lambda: made.append("ec2") or fake)  # type: ignore[func-returns-value]
    assert made == []
    lookups.definition(definition_arn("orders:7"))
    lookups.definition(definition_arn("orders:7"))
    assert made == ["ecs"]


def test_mistakes_are_remembered_but_not_what_ecs_does_not_know() -> None:
    fake = FakeEcs(task_definition("broken:1", raw_label="{"))
    lookups = Lookups(lambda: fake, lambda: fake)
    for _ in range(2):
        with pytest.raises(DefinitionError):
            lookups.definition(definition_arn("broken:1"))
    assert fake.count("describe_task_definition") == 1
    for _ in range(2):
        with pytest.raises(UnknownTaskDefinitionError, match="later:1: ECS does not know it"):
            lookups.definition(definition_arn("later:1"))
    fake.definitions[definition_arn("later:1")] = task_definition("later:1")
    assert lookups.definition(definition_arn("later:1")) is not None


def test_what_is_wrong_with_a_definition_is_read_with_it() -> None:
    fake = FakeEcs(task_definition("orders:7", raw_label='{"namespace": "shop.local", "service": []}'))
    lookups = Lookups(lambda: fake, lambda: fake)
    assert lookups.advice(definition_arn("orders:7")) is None
    assert lookups.definition(definition_arn("orders:7")) is not None
    advice = lookups.advice(definition_arn("orders:7"))
    assert advice is not None
    assert advice.namespace == "shop.local"
    (found,) = (each for each in advice.found if each.finding.code == "TRM0102")
    assert found.resource == "taskdef/orders:7"
    assert "$.service" in found.finding.where
    assert found.finding.remedy == "did you mean services?"


def test_the_memory_has_an_end() -> None:
    names = [f"orders:{number}" for number in range(module.REMEMBERED + 1)]
    fake = FakeEcs(*(task_definition(name) for name in names))
    lookups = Lookups(lambda: fake, lambda: fake)
    for name in names:
        lookups.definition(definition_arn(name))
    lookups.definition(definition_arn(names[-1]))
    assert fake.count("describe_task_definition") == len(names)
    lookups.definition(definition_arn(names[0]))
    assert fake.count("describe_task_definition") == len(names) + 1


def test_a_host_with_ipv6_only() -> None:
    fake = FakeEcs()
    fake.instances["instance"] = "i-1"
    lookups = Lookups(lambda: fake, lambda: _Ipv6())
    assert lookups.host_address("cluster", "instance") == "2600::1"


class _Ipv6:
    def describe_instances(self, **_: object) -> dict[str, object]:
        return {"Reservations": [{"Instances": [{}, {"Ipv6Address": "2600::1"}]}]}


def test_a_host_without_address() -> None:
    fake = FakeEcs()
    fake.instances["instance"] = "i-1"
    fake.addresses["i-1"] = ""
    assert Lookups(lambda: fake, lambda: fake).host_address("cluster", "instance") is None


def test_a_call_that_is_refused_is_raised_as_it_is() -> None:
    fake = FakeEcs()
    refused = failure("AccessDeniedException")
    fake.fail["describe_task_definition"] = refused
    with pytest.raises(type(refused)) as caught:
        Lookups(lambda: fake, lambda: fake).definition(definition_arn("orders:7"))
    assert caught.value is refused
