"""Lives of tasks as the registry hears of them: events in any order and repeated, sweeps and health reports between.

Whatever the order, the items end as they would had every event come once and in its turn. Beside the tasks are others
that nobody can register, and ECS does not know of a task now and then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reconciler.publications import Publications
from reconciler.sweep import Sweep
from registrar.app import handle
from registry.aws.ecs import Lookups
from registry.domain.reports import Health, TaskReport
from registry.domain.rules import State, TaskRecord, state_of
from registry.dynamodb.store import Store, open_store
from registry.publishing import Publisher
from tests.support.control_plane import aws
from tests.support.control_plane.ecs import CLUSTER, NAMESPACE, FakeEcs, life, poison, task_definition

# Many histories: moto, which copies its table for each transaction, would take most of the time.

START = 1_795_349_160.0
CHECK = {"command": ["CMD", "true"], "interval": 30, "retries": 3}
TASKS = ("aa", "bb")
LIVES = {task: life(task) for task in TASKS}
POISON = poison()
POISONED = [
    life(f"p{number}", definition=arn.rpartition("/")[2])[3]["detail"] for number, arn in enumerate(sorted(POISON))
] + [life("late")[3]["detail"] | {"startedAt": 1_795_349_160_000}]
RANK = {State.STARTING: 0, State.READY: 1, State.UNHEALTHY: 1, State.DRAINING: 2, State.GONE: 3}


def silent(*_: Any, **__: Any) -> None:
    """Log nothing."""


def without_health(record: TaskRecord | None) -> TaskRecord | None:
    return None if record is None else replace(record, health=None, health_at=None, waited=False)


class Lives(RuleBasedStateMachine):
    """Two tasks. `at` says how far the life of each is in ECS; nothing is heard of what has not happened."""

    endpoint: str

    def __init__(self) -> None:
        super().__init__()
        self.store: Store = open_store(aws.create_table(self.endpoint), aws.REGION, self.endpoint)
        self.ecs = FakeEcs(task_definition(health_check=CHECK), *POISON.values())
        self.ecs.tasks[CLUSTER] = []
        self.lookups = Lookups(lambda: self.ecs, lambda: self.ecs)
        self.at = dict.fromkeys(TASKS, 0)
        self.heard = dict.fromkeys(TASKS, 0)
        self.rank = dict.fromkeys(TASKS, 0)
        self.health: dict[str, tuple[float, Health]] = {}
        self.now = START

    def _registered(self, task: str) -> TaskRecord | None:
        return self.store.tasks.get(NAMESPACE, task)

    def _hear(self, task: str, version: int) -> None:
        handle(LIVES[task][version - 1], self.store, self.lookups, self.now)
        self.heard[task] = max(self.heard[task], version)

    @initialize(steps=st.integers(1, 8), heard=st.integers(0, 8))
    def begin(self, steps: int, heard: int) -> None:
        """Most tasks have been heard of when things begin to go wrong."""
        for task in TASKS:
            self.live(task, steps)
            if heard:
                self._hear(task, min(steps, heard))

    @rule(task=st.sampled_from(TASKS), steps=st.integers(1, 4))
    def live(self, task: str, steps: int) -> None:
        """The task goes on; its events are on their way."""
        self.at[task] = min(self.at[task] + steps, len(LIVES[task]))

    @rule(task=st.sampled_from(TASKS), place=st.floats(0, 0.99))
    def hear(self, task: str, place: float) -> None:
        """Some event of what has happened comes, perhaps again."""
        if self.at[task]:
            self._hear(task, 1 + int(place * self.at[task]))

    @rule(task=st.sampled_from(TASKS), health=st.sampled_from(Health), late=st.booleans())
    def report(self, task: str, health: Health, late: bool) -> None:
        """The task's sidecar reports its health, perhaps late."""
        self.now += 1.0
        at = self.now - 30.0 if late else self.now
        known = self._registered(task)
        self.store.tasks.report(NAMESPACE, task, TaskReport(at, health, at))
        last_at, last = self.health.get(task, (0.0, None))
        if known is not None and not known.gone and last is not health and last_at < at:
            self.health[task] = (at, health)

    @rule(hidden=st.sets(st.sampled_from(TASKS)))
    def sweep(self, hidden: Iterable[str] = ()) -> None:
        """The reconciler looks at ECS: it hears the latest of all that lives or is registered and that ECS shows."""
        self.now += 60.0
        living = {task for task in TASKS if (found := self._registered(task)) is not None and not found.gone}
        self.ecs.tasks[CLUSTER] = [
            *POISONED,
            *(LIVES[task][self.at[task] - 1]["detail"] for task in TASKS if self.at[task] and task not in hidden),
        ]
        publisher = Publisher(self.store, lambda: self.now, silent)
        publications = Publications(self.store, publisher, self.now, silent)
        report = Sweep(self.store, self.lookups, publications, (), self.now, lambda: 1000.0, silent).run()
        assert (report.failures, report.left_out) == (0, len(POISONED))
        assert report.entombed <= len(set(hidden))
        for task in set(TASKS) - set(hidden):
            if 0 < self.at[task] < 5 or task in living:  # from 5 on it shall no longer run
                self.heard[task] = max(self.heard[task], self.at[task])

    @invariant()
    def the_registry_is_as_new_as_what_it_heard(self) -> None:
        for task in TASKS:
            known = self._registered(task)
            assert (0 if known is None else known.version) == self.heard[task]
            if known is not None:
                rank = RANK[state_of(known)]
                assert rank >= self.rank[task], "a task went back"
                # A tombstone that rests on absence may live again, and has forgotten the health.
                is_absent = known.gone and known.absent_at is not None
                self.rank[task] = 0 if is_absent else rank
                if is_absent:
                    self.health.pop(task, None)

    def teardown(self) -> None:
        """ECS shows everything, whatever is still on its way arrives; then all is as it had come in order."""
        self.sweep()
        ordered = open_store(aws.create_table(self.endpoint), aws.REGION, self.endpoint)
        for task in TASKS:
            for version in range(self.at[task], 0, -1):
                self._hear(task, version)
            for version in range(1, self.at[task] + 1):
                handle(LIVES[task][version - 1], ordered, self.lookups, self.now)
            known = self._registered(task)
            assert without_health(known) == ordered.tasks.get(NAMESPACE, task)
            if known is not None:
                at, health = (None, None) if known.gone else self.health.get(task, (None, None))
                assert (known.health_at, known.health) == (at, health)


@pytest.mark.timeout(300)  # each history is some hundred calls of DynamoDB, on a machine that may be busy
def test_any_life_ends_as_if_all_had_come_in_order(dynamodb_endpoint: str) -> None:
    machine = type("LivesThere", (Lives,), {"endpoint": dynamodb_endpoint})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=12,
            deadline=None,
            phases=[Phase.generate],  # to make a failure smaller takes minutes here
            suppress_health_check=list(HealthCheck),
        ),
    )
