"""A deployment storm: many tasks replaced within a minute, their events late, twice and in no order.

Rules:
- Each replacement is a new task's RUNNING and the five events of an old task's end, as ECS sends them.
- Events arrive up to a second late, so they overtake each other, and some arrive twice.
- Registrars take events from one queue, as Lambda's instances do; the table's stream is read by one publisher.
- At the end the registry is held against what ECS would say: the last version of every task, and a snapshot of
  exactly the tasks that run.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from api.reading import head_of, snapshot
from infra.local.eventbus import DeadLetters, Invocable
from infra.local.functions import FunctionError
from infra.local.streams import Record, StreamDelivery, to_event_record
from infra.local.template import FunctionSpec
from registry.dynamodb.store import Store
from tests.support.control_plane import aws, ecs

LATE_SECONDS: Final = 1.0
TWICE: Final = 0.05
AGE_SECONDS: Final = 3_600.0
"""Of the old tasks when the storm begins."""
ATTEMPTS: Final = 3
STREAM_PAUSE_SECONDS: Final = 0.25
"""Lambda reads a table's stream four times a second."""
END: Final = (
    (0.0, "RUNNING"),
    (0.5, "DEACTIVATING"),
    (1.0, "STOPPING"),
    (3.0, "DEPROVISIONING"),
    (3.5, "STOPPED"),
)
_TEMPLATE: Final = ecs.event("fargate_running")
_TASK: Final = "a1173316d40a45dea9b1a2c3d4e5f601"
_ADDRESS: Final = "10.0.1.163"


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the storm."""

    task_id: str
    service: str
    address: str
    created_at: float

    def event(self, version: int, last: str, desired: str, at: float) -> dict[str, Any]:
        """Return the event of one of its states."""
        text = json.dumps(_TEMPLATE).replace(_TASK, self.task_id).replace(_ADDRESS, self.address)
        found: dict[str, Any] = json.loads(text)
        moment, created = _iso(at), _iso(self.created_at)
        detail = found["detail"]
        detail |= {"version": version, "lastStatus": last, "desiredStatus": desired, "updatedAt": moment}
        detail |= {"taskDefinitionArn": ecs.definition_arn(f"{self.service}:1"), "group": f"service:{self.service}"}
        detail |= {"createdAt": created, "startedAt": created}
        if last == "STOPPED":
            detail["stoppedAt"] = moment
        found |= {"time": moment, "id": f"{self.task_id}-{version}"}
        return found


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks before and after, and when each event arrives, in seconds after the start."""

    namespace: str
    old: Sequence[Task]
    new: Sequence[Task]
    arrivals: Sequence[tuple[float, dict[str, Any]]]

    def definitions(self) -> list[dict[str, Any]]:
        """Return the task definitions that ECS knows."""
        return [
            ecs.task_definition(
                f"{name}:1",
                namespace=self.namespace,
                services=[{"portName": "http", "discoveryName": name, "clientAliases": [{"port": 80}]}],
            )
            for name in sorted({task.service for task in self.old})
        ]

    def first(self) -> list[dict[str, Any]]:
        """Return the events by which the old tasks were registered before the storm."""
        return [task.event(3, "RUNNING", "RUNNING", time.time()) for task in self.old]


def plan(namespace: str, tasks: int, services: int, seconds: float, seed: int) -> Plan:
    """Return a storm in which so many tasks are replaced evenly over a time."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    names = [f"storm-{number}" for number in range(services)]

    begin = time.time()

    def task(number: int, generation: int) -> Task:
        address = f"10.{generation}.{number // 250}.{number % 250 + 1}"
        created_at = begin - AGE_SECONDS if generation == 1 else begin + number * seconds / tasks
        return Task(f"{chance.getrandbits(128):032x}", names[number % services], address, created_at)

    old, new = [task(number, 1) for number in range(tasks)], [task(number, 2) for number in range(tasks)]
    arrivals: list[tuple[float, dict[str, Any]]] = []
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        at = number * seconds / tasks
        happened = [(at, after.event(3, "RUNNING", "RUNNING", begin + at))]
        for version, (later, status) in enumerate(END, 4):
            happened.append((at + later, before.event(version, status, "STOPPED", begin + at + later)))
        for moment, event in happened:
            for _ in range(1 + (chance.random() < TWICE)):
                arrivals.append((moment + chance.uniform(0.0, LATE_SECONDS), event))
    return Plan(namespace, old, new, sorted(arrivals, key=lambda each: each[0]))


class Stream:
    """Reads a table's stream in DynamoDB Local from now on, and adds up what was written."""

    def __init__(self, endpoint: str, table: str) -> None:
        self.records = 0
        self.units = 0
        self.kinds: Counter[str] = Counter()
        self._client = aws.client("dynamodbstreams", endpoint)
        self._arn = aws.client("dynamodb", endpoint).describe_table(TableName=table)["Table"]["LatestStreamArn"]
        (shard,) = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        self._iterator = self._client.get_shard_iterator(
            StreamArn=self._arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
        )["ShardIterator"]

    def forget(self) -> None:
        """Begin to add up again."""
        self.records = self.units = 0
        self.kinds.clear()

    async def read(self) -> Sequence[Record]:
        """Return the next records as Lambda passes them."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Sequence[Record]:
        answer = self._client.get_records(ShardIterator=self._iterator)
        self._iterator = answer["NextShardIterator"]
        for record in answer["Records"]:
            images = [record["dynamodb"].get(name, {}) for name in ("NewImage", "OldImage")]
            self.records += 1
            self.units += math.ceil(max(map(item_bytes, images)) / 1024)
            self.kinds[record["dynamodb"]["Keys"]["sk"]["S"].partition("#")[0]] += 1
        return [to_event_record(record, self._arn) for record in answer["Records"]]


def item_bytes(item: Mapping[str, Any]) -> int:
    """Return an item's size by DynamoDB's rules: names and values."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, found),) = value.items()
    match kind:
        case "S":
            return len(found.encode())
        case "B":
            return len(found)
        case "N":
            return math.ceil(len(found.replace(".", "").lstrip("-").rstrip("0")) / 2) + 1
        case "M":
            return 3 + sum(len(name.encode()) + _value_bytes(each) + 1 for name, each in found.items())
        case "L":
            return 3 + sum(_value_bytes(each) + 1 for each in found)
    return 1


@dataclass(slots=True)
class Outcome:
    """What a storm did. Seconds; `lags` are from a change's arrival to its publication."""

    events: int = 0
    failed: int = 0
    backlog: int = 0  # events that waited when the last one had arrived
    drained_after: float = 0.0  # the last arrival
    publications: int = 0
    lags: list[float] = field(default_factory=list)
    dead: int = 0


class _Publisher:
    """The publisher, and when it had published which version of which task."""

    def __init__(self, function: Invocable) -> None:
        self.spec: FunctionSpec = function.spec
        self.invocations = 0
        self.published: dict[tuple[str, int], float] = {}
        self._function = function

    async def invoke(self, event: object) -> Any:
        """Invoke it."""
        result = await self._function.invoke(event)
        self.invocations += 1
        assert isinstance(event, dict)
        if not (result or {}).get("batchItemFailures"):
            for record in event["Records"]:
                image = record["dynamodb"].get("NewImage", {})
                if record["dynamodb"]["Keys"]["sk"]["S"].startswith("TASK#") and "version" in image:
                    key = record["dynamodb"]["Keys"]["sk"]["S"].partition("#")[2], int(image["version"]["N"])
                    self.published.setdefault(key, time.monotonic())
        return result


async def settle(publisher: Invocable, stream: Stream) -> None:
    """Publish what stands in the stream by now, and what that writes itself."""
    assert publisher.spec.stream is not None
    delivery = StreamDelivery(publisher, publisher.spec.stream, DeadLetters())
    while records := await stream.read():
        await delivery.deliver(records)


async def run(
    storm: Plan, registrars: Sequence[Invocable], publisher: Invocable, stream: Stream, patience: float
) -> Outcome:
    """Let a storm pass and wait until all of it is worked. Raises TimeoutError."""
    assert publisher.spec.stream is not None
    outcome, timed, letters = Outcome(), _Publisher(publisher), DeadLetters()
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    arrived: dict[tuple[str, int], float] = {}

    async def register(function: Invocable) -> None:
        while True:
            event = await queue.get()
            for attempt in itertools.count(1):
                try:
                    await function.invoke(event)
                except FunctionError:
                    outcome.failed += attempt == ATTEMPTS
                    if attempt < ATTEMPTS:
                        continue
                break
            outcome.events += 1
            queue.task_done()

    idle = asyncio.Event()

    async def follow() -> None:
        delivery = StreamDelivery(timed, publisher.spec.stream, letters)  # type: ignore[arg-type] # asserted above
        while True:
            records = await stream.read()
            if records:
                idle.clear()
                await delivery.deliver(records)
            else:
                idle.set()
                await asyncio.sleep(STREAM_PAUSE_SECONDS)

    workers = [asyncio.create_task(register(each)) for each in registrars]
    follower = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(patience):
            begin = time.monotonic()
            for at, event in storm.arrivals:
                await asyncio.sleep(begin + at - time.monotonic())
                key = event["detail"]["taskArn"].rpartition("/")[2], event["detail"]["version"]
                arrived.setdefault(key, time.monotonic())
                queue.put_nowait(copy.deepcopy(event))
            outcome.backlog = queue.qsize()
            ended = time.monotonic()
            await queue.join()
            idle.clear()  # an empty read after the last write
            await idle.wait()
            outcome.drained_after = time.monotonic() - ended
    finally:
        for task in (*workers, follower):
            task.cancel()
        results = await asyncio.gather(*workers, follower, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    outcome.lags = sorted(at - arrived[key] for key, at in timed.published.items() if key in arrived)
    outcome.publications, outcome.dead = timed.invocations, len(letters.letters)
    return outcome


def faults(store: Store, storm: Plan) -> list[str]:
    """Return what the registry has other than ECS would say."""
    found: list[str] = []
    items = store.tasks.get_all(storm.namespace, [task.task_id for task in (*storm.old, *storm.new)])
    for tasks, version, status in ((storm.old, 3 + len(END), "STOPPED"), (storm.new, 3, "RUNNING")):
        for task in tasks:
            item = items.get(task.task_id)
            if item is None or (item.version, item.last_status) != (version, status):
                found.append(f"task {task.task_id}: {item}, not version {version} and {status}")
    document = snapshot(store, storm.namespace, head_of(store, storm.namespace), None, None)
    routed = {(each["name"], e["address"], e["state"]) for each in document["services"] for e in each["endpoints"]}
    wanted = {(task.service, task.address, "ready") for task in storm.new}
    found += [f"not in the snapshot: {each}" for each in sorted(wanted - routed)]
    found += [f"in the snapshot still: {each}" for each in sorted(routed - wanted)]
    return found
