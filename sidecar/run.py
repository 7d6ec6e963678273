"""The life of the sidecar, from its configuration to its exit code.

Order on start: inbound listeners → disk cache → first snapshot → ready. Order when ECS stops the task (DesiredStatus,
or SIGTERM where that is not seen): not ready → every answer says `Connection: close`, HTTP/2 hears GOAWAY → SIGTERM →
callers have read that the task went, work under way ends, at most TRAMO_DRAIN_SECONDS → metrics are sent → exit 0.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from sidecar import __version__
from sidecar.admin.pages import Pages
from sidecar.admin.server import AdminConnection
from sidecar.answers import Answers
from sidecar.config import Config
from sidecar.core.label import DEFAULT_MESH, Label, compared, read
from sidecar.core.label import NAME as LABEL
from sidecar.core.meters import Meters
from sidecar.core.snapshot import Snapshot
from sidecar.credentials import TaskCredentials
from sidecar.findings import Findings, LabelFindings, MeshFindings
from sidecar.metadata import MetadataError, TaskIdentity, TaskMetadata, identify
from sidecar.names.hosts import HostsFile
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.listeners import RETRY_SECONDS
from sidecar.proxy.mesh import Mesh
from sidecar.proxy.overload import MemoryWatch, give_back
from sidecar.registry.cache import SnapshotCache
from sidecar.registry.client import RegistryClient
from sidecar.registry.feed import FeedClient, copy_of
from sidecar.registry.gate import Gate
from sidecar.registry.health import HealthReporter
from sidecar.registry.poller import Poller
from sidecar.registry.questions import Questions
from sidecar.registry.sources import Sources
from sidecar.telemetry.setup import Telemetry
from sidecar.telemetry.vitals import Vitals
from sidecar.telemetry.window import Window

EXIT_CONFIGURATION: Final = 2
QUIET_SECONDS: Final = 1.0
"""A drain ends early once nobody came and nothing was under way for this long."""
INTERVALS: Final = 2.0
"""Of reading the registry: for so many, callers that have not heard yet may come. One for the news to be published."""

log = logging.getLogger("tramo")


async def run(config: Config) -> int:
    """Run the sidecar on a running loop until it is to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        sidecar = Sidecar(config)
        if not await sidecar.start(stack):
            return EXIT_CONFIGURATION
        give_back()  # what the imports and the first snapshot needed for a moment: 1 to 2 MiB
        gc.freeze()  # what is here now stays: the collector need not walk it again
        await stop.wait()
        await drain(sidecar.mesh, sidecar.callers_come(), config.drain_seconds)
    log.info("stopped")
    return 0


class Sidecar:
    """The parts of the sidecar, put together. What starts is ended by the stack, the last first."""

    def __init__(self, config: Config) -> None:
        self.mesh: Mesh
        self._config = config
        self._hosts = HostsFile(config.hosts_file) if config.hosts_file is not None else None
        self._credentials = TaskCredentials()
        self._runtime = Runtime(asyncio.get_running_loop(), clock=time.monotonic)
        self._gate: Gate
        self._poller: Poller
        self._questions: Questions | None = None
        self._belonging: MeshFindings

    async def start(self, stack: AsyncExitStack) -> bool:
        """Start everything. Return False, after the log has said why, when an address is wrong or taken."""
        runtime = self._runtime
        metadata = TaskMetadata(self._config.metadata_uri) if self._config.metadata_uri else None
        identity = await runtime.loop.run_in_executor(None, _identify, metadata)
        label = read(identity.label) if identity.label else None
        config = self._config = _completed(self._config, label, identity.region)
        if not config.namespace:
            log.error("TRAMO_NAMESPACE is not set: set it, or put the label %s on the sidecar's container", LABEL)
            return False
        if not config.region:
            log.error("AWS_REGION is not set, and the task metadata endpoint does not say it: set it")
            return False
        memory_limit = await runtime.loop.run_in_executor(None, _memory_limit, metadata)
        service = config.service_name or identity.service_name
        meters = Meters(service, config.cluster_name or identity.cluster_name)
        stack.callback(runtime.stop)
        self.mesh = Mesh(runtime, config, meters, config.zone or identity.zone)
        self._gate = Gate(identity.task_id, [each.name for each in config.inbound], self.mesh.apps_not_seen)
        self._belonging = MeshFindings((label.mesh if label is not None else config.mesh) or DEFAULT_MESH)
        cache = SnapshotCache(config.cache_file) if config.cache_file is not None else None
        sources = Sources(self._registry(), self._feed(identity.task_id), runtime.now)
        self._poller = Poller(
            runtime, config.namespace, sources, cache, self._apply, config.poll_seconds, asked=self._asked
        )
        labels = LabelFindings()
        seers = [lambda: config.findings, labels.current, self.mesh.findings, sources.findings, self._belonging.current]
        findings = Findings(*seers, *([self._hosts.findings] if self._hosts else []))
        vitals = Vitals(meters, self.mesh.destinations, self._poller, runtime, findings.current, sources)
        telemetry = Telemetry(runtime, config, meters, vitals, self._credentials)
        stack.push_async_callback(telemetry.close)
        try:
            await telemetry.start(identity)
        except OSError as error:
            log.error("AWS_XRAY_DAEMON_ADDRESS: no address of %s:%d: %s", *config.xray_daemon, error)
            return False
        sink, otlp = telemetry.cloudwatch, telemetry.otlp
        pages = Pages(config, self.mesh, self._poller, sink, meters, vitals, self._gate, findings, sources, otlp)
        try:
            admin = await runtime.loop.create_server(lambda: AdminConnection(pages), *config.admin, reuse_address=True)
        except OSError as error:
            log.error("cannot listen on TRAMO_ADMIN %s:%d: %s", *config.admin, error)
            return False
        window = Window(runtime, meters, self.mesh.destinations)
        offered = [each.name for each in config.inbound]
        answers = Answers(runtime, pages, self._poller, window, identity, config.zone or identity.zone, offered)
        self._questions = Questions(runtime, identity.task_id, offered, self._registry(), answers.by_subject())
        stack.callback(admin.close)
        stack.callback(self.mesh.close)
        runtime.start()
        pages.inbound_bound = await self.mesh.start()
        if not pages.inbound_bound:
            return False
        log.info("started", extra={"version": __version__, "namespace": config.namespace})
        await self._poller.load()
        runtime.spawn(self._poller.run(), "registry poller")
        telemetry.send()
        if metadata is not None and identity.task_id:
            reporter = HealthReporter(
                runtime,
                identity.task_id,
                metadata,
                self._registry(),
                findings.current,
                self.mesh.drain,
                labels.observe,
            )
            runtime.spawn(reporter.run(), "health reporter")
        runtime.spawn(MemoryWatch(runtime, memory_limit).run(), "memory watch")
        runtime.spawn(findings.run(), "findings")
        runtime.spawn(window.run(), "traffic window")
        runtime.spawn(self._retry(), "listener retry")
        return True

    def callers_come(self) -> float:
        """Return for how many seconds callers that have not heard of a drain may still come."""
        return INTERVALS * self._poller.longest_interval if self._config.inbound else 0.0

    def _registry(self) -> RegistryClient:
        config = self._config
        return RegistryClient(
            config.api_url, config.namespace, config.region, self._credentials, self._belonging.observe
        )

    def _feed(self, task_id: str) -> FeedClient | None:
        config = self._config
        if not config.feed_table:
            return None
        copy = copy_of(task_id or str(uuid.uuid4()))
        return FeedClient(
            config.feed_table,
            config.namespace,
            copy,
            config.region,
            self._credentials,
            config.dynamodb_url,
            config.s3_url,
        )

    def _asked(self, text: str) -> None:
        if self._questions is not None:
            self._questions.take(text)

    async def _apply(self, snapshot: Snapshot) -> None:
        renamed = await self.mesh.apply(snapshot)
        self._gate.observe(snapshot, self._runtime.now(), self._poller.longest_interval)
        if self._hosts is not None and (renamed or not self._hosts.holds()):
            self._hosts.write(self.mesh.hosts())

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await self.mesh.retry() and self._hosts is not None:
                self._hosts.write(self.mesh.hosts())


def _completed(config: Config, label: Label | None, region: str) -> Config:
    """Return the configuration with what the task says besides, and with what its label says differently."""
    config = replace(config, region=config.region or region)
    if label is None:
        return config
    namespace = config.namespace or label.namespace
    inbound = {service.name: service.ingress_port for service in config.inbound}
    found = compared(label, namespace, inbound, config.mesh)
    return replace(config, namespace=namespace, mesh=config.mesh or label.mesh, findings=(*config.findings, *found))


async def drain(mesh: Mesh, least: float, seconds: float) -> None:
    """Serve for `least` seconds from the begin of the drain, then until it is quiet; from now on at most `seconds`."""
    began = mesh.drain()
    runtime = mesh.runtime
    started = quiet_since = runtime.now()
    arrivals = mesh.arrivals()
    log.info("draining", extra={"work": runtime.work, "at_least_seconds": least, "at_most_seconds": seconds})
    while (now := runtime.now()) - started < seconds:
        before, arrivals = arrivals, mesh.arrivals()
        if runtime.work or arrivals != before or runtime.clients.have_unsent():
            quiet_since = now
        elif now - quiet_since >= QUIET_SECONDS and now - began >= least:
            break
        await asyncio.sleep(0.05)
    if runtime.work:
        log.warning("cut %d requests or tunnels that did not end in %.0f s", runtime.work, seconds)


def _identify(metadata: TaskMetadata | None) -> TaskIdentity:
    """Return who this task is. Not to know it costs dimensions of metrics, zones and health reports, not traffic."""
    if metadata is None:
        return TaskIdentity()
    try:
        return identify(metadata.identity)
    except MetadataError as error:
        log.warning("%s", error)
        return TaskIdentity()


def _memory_limit(metadata: TaskMetadata | None) -> int | None:
    """Return the limit of this container's memory as ECS says it. Whoever needs it says that it is unknown."""
    try:
        return metadata.memory_limit() if metadata is not None else None
    except MetadataError:
        return None
