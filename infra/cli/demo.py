"""`tramo demo`: the shop under load: scaling, a crash, deployments, a stolen name, outages, a standalone task.

Nothing is simulated but AWS: the tasks are processes, their events go through the rule of template.yaml to the
functions, and the requests go through the sidecars. Every wait is for a condition with a deadline; the one time that
passes by itself is the outage.

It succeeds only if no request failed and CloudWatch counted exactly the requests that were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra.cli import measure, report
from infra.cli.demo_definitions import NAMESPACE, SHOP, broken_release, copycat, second_release
from infra.cli.demo_view import View
from infra.cli.mesh import Mesh
from infra.cli.mesh_state import knows_all
from infra.cli.report import Tally
from infra.cli.services import refused_claims
from infra.cli.tables import show
from infra.cli.traffic import EDGES, STAT_IN, Edge, by_destination
from infra.client.api import ApiError, Json, MeshApi
from infra.local.machine import Machine
from infra.local.runner import TaskRunner
from infra.local.settings import LocalError, Settings
from infra.local.state import Status, StopCode
from infra.local.up import machine

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

OUTAGE_SECONDS: Final = 10.0
_PATIENCE: Final = 120.0  # for any one condition, on a busy machine
_PAUSE: Final = 0.1
_BASE_REQUESTS: Final = 300
_SERVICES: Final = ("web", "orders", "stock", "cache")


class DemoError(LocalError):
    """Something did not become as it should in time."""


def run(_: argparse.Namespace) -> int:
    """Run the demo: it has no options."""
    return demo()


def demo() -> int:
    """Run the demo and return the exit code of the command."""
    state = Path(tempfile.mkdtemp(prefix="tramo-demo-"))
    settings = Settings(state_directory=state, image_directory=SHOP)
    begin = time.time()
    try:
        faults = asyncio.run(_run(settings))
    except LocalError as error:
        faults = [str(error)]
    except KeyboardInterrupt:  # everything has been stopped on the way here
        shutil.rmtree(state)
        return 130
    seconds = time.time() - begin
    if faults:
        sys.stdout.write("".join(f"FAILED: {fault}\n" for fault in faults) + f"logs are in {state}\n")
        return 1
    shutil.rmtree(state)
    sys.stdout.write(f"OK: no request failed, CloudWatch counted every one ({seconds:.0f} s)\n")
    return 0


async def _run(settings: Settings) -> list[str]:
    begin = datetime.now(UTC)
    async with machine(settings) as (made, _):
        with View() as view:
            shown = Demo(made, view)
            final = await shown.run()
        view.say("reading the metrics back from CloudWatch")
        values = await asyncio.to_thread(_read_metrics, made, begin)
    sys.stdout.write("\n")
    show(sys.stdout, "table", report.metric_columns(_SERVICES), report.metric_rows(values, _SERVICES))
    for columns, edges in ((STAT_IN, by_destination(shown.edges)), (EDGES, shown.edges)):
        sys.stdout.write("\n")
        show(sys.stdout, "table", columns, [edge.row() for edge in edges])
    sys.stdout.write("\n")
    return report.verdict(final, values.get(("RequestCount", "web")))


class Demo:
    """The phases, one after the other."""

    def __init__(self, made: Machine, view: View) -> None:
        self._machine = made
        self._cluster = made.cluster
        self._view = view
        self._load: TaskRunner | None = None
        self._running_at: dict[str, float] = {}
        self._api = MeshApi.local(made.api.url, made.settings.region)
        self.edges: list[Edge] = []
        made.listeners.append(self._note)

    async def run(self) -> Tally:
        """Run all phases and return the last tally. Raises DemoError."""
        self._view.say("starting cache, stock, orders and web, each with its sidecar")
        await self._steady()
        await self._until("every sidecar knows every service", self._all_known)
        self._load = self._cluster.run_task("load")
        load = self._load
        await self._until("the load task runs", lambda: load.state.status is Status.RUNNING)
        self._view.follow(self._tally)
        async with self._phase("steady load on web"):
            await self._until("requests are answered", lambda: self._tally().succeeded >= _BASE_REQUESTS)
        async with self._phase("orders scales from 1 to 3"):
            self._cluster.update_service("orders", desired_count=3, definition=None, force=False)
            await self._all_serve()
        async with self._phase("one orders task is killed with SIGKILL"):
            self._kill(self._orders()[0])
            await self._until("ECS has seen it", lambda: len(self._orders()) < 3 or not self._cluster.steady())
            await self._all_serve()
        async with self._phase("orders is deployed from version 1 to 2"):
            good = self._deploy(second_release())
            await self._all_serve()
        async with self._phase("a task of another family claims stock"):
            thief = await self._claim_stock()
        async with self._phase("version 3 of orders fails and is rolled back"):
            before = await self._roll_back()
        async with self._phase(f"the API is away for {OUTAGE_SECONDS:.0f} s while a task is replaced"):
            await self._machine.api.away()
            await self._outage()
            await self._machine.api.back()
            await self._all_serve()
        async with self._phase(f"DynamoDB is away for {OUTAGE_SECONDS:.0f} s while a task is replaced"):
            await self._machine.feed.away()
            await self._outage()
            await self._machine.feed.back()
            await self._all_serve()
        async with self._phase("a standalone task of orders joins by RunTask"):
            alone = self._cluster.run_task(good)
            await self._until("it serves", lambda: alone.identity.task_id in self._tally().answers)
        await self._callers_have(before)
        self._view.say("asking the sidecars who calls whom")
        self.edges = await asyncio.to_thread(measure.edges, Mesh(self._api, None), io.StringIO())
        self._view.say("stopping the load, then everything; the sidecars report their last metrics")
        load.stop(StopCode.USER_INITIATED, "The demo is over")
        await self._until("the load task has stopped", load.stopped.is_set)
        final = self._tally()
        if requests := thief.log("stock").read_text(encoding="utf-8"):
            raise DemoError(
                f"{thief.identity.definition.name} may not offer stock, and yet it was asked: {requests[:200]}"
            )
        self._view.note(f"{thief.identity.definition.name} was never asked")
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._cluster.stop()
        except TimeoutError as error:
            raise DemoError(f"not all tasks had stopped after {_PATIENCE:.0f} s") from error
        return final

    @asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        self._view.say(name)
        before, begin, known = self._tally(), time.monotonic(), set(self._running_at)
        yield
        # Half a second of requests with everything in its new place, and a tally that was written after it.
        enough = self._tally().sent + 50
        await self._until("requests go on", lambda: self._tally().sent >= enough)
        new = {task: at for task, at in self._running_at.items() if task not in known}
        self._view.ended(report.phase(name, before, self._tally(), new, time.monotonic() - begin))

    def _note(self, event: Mapping[str, Any]) -> None:
        """Keep the times at which tasks of orders became RUNNING."""
        detail = event["detail"]
        is_orders = "/orders:" in detail["taskDefinitionArn"].partition("task-definition")[2]
        if is_orders and (detail["lastStatus"], detail["desiredStatus"]) == ("RUNNING", "RUNNING"):
            self._running_at.setdefault(detail["taskArn"].rpartition("/")[2], time.time())

    def _orders(self) -> list[TaskRunner]:
        """Return the tasks of orders that run and shall go on running."""
        return [
            runner
            for runner in self._cluster.tasks.values()
            if runner.identity.definition.family == "orders"
            and runner.state.status is Status.RUNNING
            and runner.state.desired is Status.RUNNING
        ]

    def _kill(self, runner: TaskRunner) -> None:
        """Take all processes of a task at once, as the end of its host would."""
        for container in runner.process_ids():
            runner.kill(container)

    async def _steady(self) -> None:
        if not await self._cluster.until(self._cluster.steady, _PATIENCE):
            raise DemoError(f"not all services were steady within {_PATIENCE:.0f} s")

    async def _outage(self) -> None:
        """Stop a task of orders; return when a new one has its snapshot and `OUTAGE_SECONDS` are over."""
        ends = time.monotonic() + OUTAGE_SECONDS
        known = set(self._cluster.tasks)
        self._cluster.stop_task(self._orders()[0].identity.task_id, "The demo replaces it")

        async def replaced() -> bool:
            new = [runner for task, runner in self._cluster.tasks.items() if task not in known]
            return any([await asyncio.to_thread(knows_all, runner.place, _SERVICES) for runner in new])

        await self._until("the sidecar of a new task knows every service", replaced)
        await asyncio.sleep(max(0.0, ends - time.monotonic()))

    def _deploy(self, document: Mapping[str, Any]) -> str:
        """Deploy a release of orders and return its family:revision."""
        name = self._cluster.register(document).name
        self._cluster.update_service("orders", desired_count=None, definition=name, force=False)
        return name

    async def _claim_stock(self) -> TaskRunner:
        """Start a task that says it is stock; return it when the registry has refused it. It runs on until the end."""
        definition = self._cluster.register(copycat()).name
        runner = self._cluster.run_task(definition)
        stock: Json = {}

        async def refused() -> bool:
            stock.update(await self._service("stock"))
            return any(claim["task_definition"] == definition for claim in stock["refused"])

        await self._until("the registry refuses the claim", refused)
        if any(str(each["id"]).startswith(runner.identity.task_id) for each in stock["endpoints"]):
            raise DemoError(f"stock has an endpoint of {definition}, whose claim was refused")
        for line in refused_claims([{**stock, "namespace": NAMESPACE}]):
            self._view.note(line)
        return runner

    async def _roll_back(self) -> list[str]:
        """Deploy a release that fails; return what callers had all the time when ECS has rolled it back."""
        before = _configuration(await self._service("orders"))
        definition = self._deploy(broken_release())

        async def rolled_back() -> bool:
            await self._callers_have(before)
            events = self._cluster.service("orders").events
            if not any("rolling back to" in event["message"] for event in events):
                return False
            return {await self._state(task) for task in self._tasks_of(definition)} <= {"draining", "gone"}

        await self._until(f"{definition} is rolled back, and the registry knows it", rolled_back)
        await self._all_serve()
        failed = len(self._tasks_of(definition))
        self._view.note(f"{failed} tasks of {definition} failed; orders keeps {', '.join(before)}")
        return before

    async def _callers_have(self, before: list[str]) -> None:
        """Raise DemoError if a deployment has changed what callers have of orders."""
        now = _configuration(await self._service("orders"))
        if now != before:
            raise DemoError(f"a release of orders has failed, and yet orders is {now} instead of {before}")

    def _tasks_of(self, definition: str) -> list[str]:
        return [task for task, runner in self._cluster.tasks.items() if runner.identity.definition.name == definition]

    async def _state(self, task: str) -> str:
        """Return the state of a task as the registry has it, nothing while its first event is on the way."""
        try:
            return str((await asyncio.to_thread(self._api.task, NAMESPACE, task))["state"])
        except ApiError as error:
            if error.status != 404:
                raise
            return ""

    async def _service(self, name: str) -> Json:
        return await asyncio.to_thread(self._api.service, NAMESPACE, name)

    async def _all_serve(self) -> None:
        """Return when orders is steady and each of its tasks has answered a request."""
        await self._steady()
        await self._until(
            "every task of orders serves",
            lambda: {runner.identity.task_id for runner in self._orders()} <= set(self._tally().answers),
        )

    async def _all_known(self) -> bool:
        runners = [runner for runner in self._cluster.tasks.values() if runner.state.status is Status.RUNNING]
        return all([await asyncio.to_thread(knows_all, runner.place, _SERVICES) for runner in runners])

    def _tally(self) -> Tally:
        if self._load is None:
            return Tally()
        log = self._load.log("load")
        return report.read_tally(log.read_text(encoding="utf-8")) if log.exists() else Tally()

    async def _until(self, what: str, condition: Callable[[], bool | Awaitable[bool]]) -> None:
        """Return when the condition holds. Raises DemoError when that takes too long."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            held = condition()
            if held if isinstance(held, bool) else await held:
                return
            if time.monotonic() > deadline:
                raise DemoError(f"gave up after waiting {_PATIENCE:.0f} s until {what}; {self._tally()}")
            await asyncio.sleep(_PAUSE)


def _configuration(service: Json) -> list[str]:
    """Return what a deployment could change for the callers of a service."""
    aliases = [f"{each['dns_name']}:{each['port']}" for each in service["aliases"]]
    return [f"protocol {service['protocol']}", f"virtual address {service['vip']}", *aliases]


def _read_metrics(made: Machine, begin: datetime) -> dict[tuple[str, str], float]:
    """Return the value of every metric for every service."""
    wanted = [(metric, service) for metric in report.METRICS for service in _SERVICES]
    queries: list[MetricDataQueryTypeDef] = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "Tramo",
                    "MetricName": metric.name,
                    "Dimensions": [{"Name": metric.dimension, "Value": service}],
                },
                "Period": 3600,
                "Stat": metric.statistic,
            },
        }
        for number, (metric, service) in enumerate(wanted)
    ]
    answer = made.aws.cloudwatch().get_metric_data(
        MetricDataQueries=queries,
        StartTime=begin - timedelta(minutes=1),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
    )
    values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
    return {
        (metric.name, service): values[f"m{number}"][0]
        for number, (metric, service) in enumerate(wanted)
        if values.get(f"m{number}")
    }


if __name__ == "__main__":
    sys.exit(demo())
