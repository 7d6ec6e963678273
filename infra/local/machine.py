"""Everything that `tramo up` starts, in the order in which it depends on each other.

AWS (moto) → the functions of template.yaml → API Gateway, event bus, stream reader, schedules → the ECS API
and the metadata endpoint → the cluster with its services. It ends in the reverse order: the sidecars can still
report when their tasks stop. `up.py` starts it for a folder and puts the control socket in front of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

from infra.local import events, namespace, netns
from infra.local.api_gateway import ApiGateway
from infra.local.aws import Aws, StreamReader, start_server, stop_server
from infra.local.aws_server import TABLE
from infra.local.bridge import BridgeNetwork
from infra.local.cluster import Cluster, EcsError
from infra.local.ecs_api import EcsApi
from infra.local.environment import Endpoints
from infra.local.eventbus import DeadLetters, EventBus, on_schedule
from infra.local.folder import Folder
from infra.local.functions import Function
from infra.local.httpserver import HttpServer
from infra.local.metadata import MetadataEndpoint
from infra.local.network import LoopbackNetwork, Network
from infra.local.process import Launcher
from infra.local.relay import Relay
from infra.local.settings import ACCESS_KEY, SECRET_KEY, LocalError, Settings
from infra.local.streams import StreamDelivery, follow
from infra.local.template import ControlPlane, load, with_stream

log = logging.getLogger(__name__)


class Machine:
    """ECS and AWS on this machine. Made by `up.machine`; its parts are public because the demo uses them."""

    def __init__(self, settings: Settings, cluster: str) -> None:
        self.settings = settings
        self.dead_letters = DeadLetters()
        self.events_sent = 0
        self.function_log = settings.state_directory / "functions.log"
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._cluster_name = cluster
        self._background: list[asyncio.Task[None]] = []
        self.aws: Aws
        self.api: ApiGateway
        self.feed: Relay  # the way of the tasks to DynamoDB and S3
        self.bus: EventBus
        self.functions: Mapping[str, Function] = {}
        self.cluster: Cluster
        self.endpoints: Endpoints
        self.private_hosts = False
        self.shared_network: str | None = None  # why tasks have no network namespace of their own

    async def start(self, stack: AsyncExitStack) -> None:
        """Start everything but the services; `stack` ends it."""
        plane = load(table=TABLE)
        launcher = await stack.enter_async_context(Launcher())
        self.private_hosts = await self._private_hosts()
        network = await asyncio.to_thread(self._network)
        stack.push_async_callback(asyncio.to_thread, network.close)
        if isinstance(network, BridgeNetwork):
            launcher.remember_interface(network.uplink)
        self.aws = await self._start_aws(network.host, launcher, stack)
        await asyncio.to_thread(self.aws.create, plane)
        self.feed = Relay(network.host, self.aws.url)
        await self.feed.back()
        stack.push_async_callback(self.feed.away)
        ecs_server = HttpServer(lambda request: EcsApi(self.cluster).handle(request))
        ecs = f"http://{network.host}:{await ecs_server.listen(network.host)}"
        stack.push_async_callback(ecs_server.close)
        await self._start_functions(plane, network.host, ecs, launcher, stack)
        metadata_server = HttpServer(lambda request: MetadataEndpoint(self.cluster.tasks).handle(request))
        listening = network.metadata_socket()
        await metadata_server.listen_on(listening)
        stack.push_async_callback(metadata_server.close)
        host, port = listening.getsockname()
        self.endpoints = Endpoints(
            aws=self.aws.url,
            cloudwatch=self.aws.cloudwatch_url,
            ecs=ecs,
            api=self.api.url,
            feed=self.feed.url,
            feed_table=next(iter(plane.other_tables), ""),
            metadata=f"http://{host}" if port == 80 else f"http://{host}:{port}",
        )
        self.cluster = Cluster(
            self._cluster_name,
            settings=self.settings,
            launcher=launcher,
            network=network,
            endpoints=self.endpoints,
            private_hosts=self.private_hosts,
            publish=self._publish,
            tell=self._tell,
        )
        stack.push_async_callback(self.cluster.close)
        self.cluster.start()

    def _network(self) -> Network:
        """Return a network with a namespace for each task, else loopback addresses and note why."""
        self.shared_network = "loopback was chosen" if self.settings.network == "loopback" else netns.missing()
        if self.shared_network is None:
            try:
                return BridgeNetwork()
            except netns.NetworkError as error:
                self.shared_network = str(error)
        return LoopbackNetwork()

    async def _start_aws(self, host: str, launcher: Launcher, stack: AsyncExitStack) -> Aws:
        """Start DynamoDB and CloudWatch, apart from each other: who looks at metrics does not slow the mesh."""
        urls: list[str] = []
        for service in ("dynamodb", "cloudwatch"):
            log = self.settings.state_directory / "aws.log"
            url, process = await start_server(service, self.settings.region, host, launcher, log)
            stack.push_async_callback(stop_server, process)
            urls.append(url)
        return Aws(self.settings.region, *urls)

    async def _private_hosts(self) -> bool:
        """Say whether apps get a hosts file of their own. Raises LocalError if they must and cannot."""
        if self.settings.names == "proxy":
            return False
        possible = await asyncio.to_thread(namespace.usable, self.settings.state_directory)
        if self.settings.names == "hosts" and not possible:
            raise LocalError("unshare --mount is refused on this machine: be root, or use --names proxy")
        return possible

    def create(self, folder: Folder) -> None:
        """Register the folder's definitions and create its services. Raises LocalError."""
        for document in folder.definitions:
            self.cluster.register(document)
        for service in folder.services:
            try:
                self.cluster.create_service(service)
            except EcsError as error:
                raise LocalError(f"service {service['serviceName']}: {error}") from error

    async def _start_functions(
        self, plane: ControlPlane, host: str, ecs: str, launcher: Launcher, stack: AsyncExitStack
    ) -> None:
        environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ENDPOINT_URL_ECS": ecs,
        }
        functions = [
            Function(
                with_stream(spec, self.aws.stream_arn), launcher, environment, self.settings.region, self.function_log
            )
            for spec in plane.functions
        ]
        await asyncio.gather(*(function.start() for function in functions))
        for function in functions:
            stack.push_async_callback(function.stop)
        self.functions = {function.spec.name: function for function in functions}
        self.bus = EventBus(functions, self.dead_letters, self.settings.retry_seconds)
        stack.push_async_callback(self.bus.close)
        stack.push_async_callback(self._stop_background)
        served = next((function for function in functions if function.spec.routes), None)
        if served is None:
            raise LocalError("template.yaml has no function with an Api event")
        self.api = ApiGateway(
            served,
            host=host,
            stage=plane.stage,
            region=self.settings.region,
            minimum_compression_size=plane.minimum_compression_size,
        )
        await self.api.back()
        stack.push_async_callback(self.api.away)
        for function in functions:
            if function.spec.stream is not None:
                reader = await asyncio.to_thread(StreamReader, self.aws)
                delivery = StreamDelivery(function, function.spec.stream, self.dead_letters)
                self._start(follow(reader.read, delivery, self.settings.stream_poll_seconds))
            if function.spec.every is not None:
                self._start(on_schedule(function, self.bus, self._schedule_event(function), function.spec.every))

    def _schedule_event(self, function: Function) -> Callable[[], Mapping[str, object]]:
        return lambda: events.scheduled(function.spec.name, self.settings.region, time.time())

    def _publish(self, detail: Mapping[str, Any]) -> None:
        event = events.task_state_change(detail, self.settings.region, time.time())
        self.events_sent += 1
        self.bus.put(event)
        for listener in self.listeners:
            listener(event)

    def _tell(self, event: Mapping[str, Any]) -> None:
        self.events_sent += 1
        self.bus.put(event)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_report)
        self._background.append(task)

    async def _stop_background(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a part of the machine has ended: %r", error, exc_info=error)
