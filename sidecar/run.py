"""The life of the sidecar, from its configuration to its exit code.

Order on start: inbound listeners → disk cache → first snapshot → ready. Order when ECS stops the task (DesiredStatus,
or SIGTERM where that is not seen): not ready → every answer says `Connection: close`, HTTP/2 hears GOAWAY → SIGTERM →
callers have read that the task went, work under way ends, at most TRAMO_DRAIN_SECONDS → metrics are sent → exit 0.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import time
from typing import Final, cast

import botocore.session

import sidecar
from sidecar.admin.pages import Pages
from sidecar.admin.server import AdminConnection
from sidecar.config import Config
from sidecar.core.meters import Meters
from sidecar.core.snapshot import Snapshot
from sidecar.metadata import MetadataError, TaskIdentity, TaskMetadata, identify
from sidecar.names.hosts import HostsFile
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.mesh import Mesh
from sidecar.proxy.overload import MemoryWatch
from sidecar.registry.cache import SnapshotCache
from sidecar.registry.client import RegistryClient
from sidecar.registry.gate import Gate
from sidecar.registry.health import HealthReporter
from sidecar.registry.poller import Poller
from sidecar.telemetry.cloudwatch import CloudWatch, CloudWatchSink
from sidecar.telemetry.setup import Telemetry
from sidecar.telemetry.vitals import Vitals

EXIT_CONFIGURATION: Final = 2
QUIET_SECONDS: Final = 1.0
"""A drain ends early once nobody came and nothing was under way for this long."""
INTERVALS: Final = 2.0
"""Of reading the registry: for so many, callers that have not heard yet may come. One for the news to be published."""

log = logging.getLogger("tramo")


async def run(config: Config) -> int:
    """The life of the sidecar on a running loop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metadata = TaskMetadata(config.metadata_uri) if config.metadata_uri else None
    identity = await loop.run_in_executor(None, _identify, metadata)
    session = botocore.session.Session()
    runtime = Runtime(loop, clock=time.monotonic)
    meters = Meters(config.service_name or identity.service_name, config.cluster_name or identity.cluster_name)
    mesh = Mesh(runtime, config, meters, config.zone or identity.zone)
    gate = Gate(identity.task_id, [service.name for service in config.inbound])
    hosts = HostsFile(config.hosts_file) if config.hosts_file is not None else None

    async def apply(snapshot: Snapshot) -> None:
        renamed = await mesh.apply(snapshot)
        gate.observe(snapshot, runtime.now(), poller.longest_interval)
        if hosts is not None and (renamed or not hosts.holds()):
            hosts.write(mesh.hosts())

    def connect() -> RegistryClient:
        return RegistryClient(config.api_url, config.namespace, config.region, session)

    cache = SnapshotCache(config.cache_file) if config.cache_file is not None else None
    poller = Poller(runtime, config.namespace, connect(), cache, apply, config.poll_seconds)
    vitals = Vitals(meters, mesh.destinations, poller, runtime.now)
    telemetry = Telemetry(runtime, config)
    try:
        await telemetry.start(vitals, config.service_name or identity.service_name)
    except OSError as error:
        log.error("AWS_XRAY_DAEMON_ADDRESS: no address of %s:%d: %s", *config.xray_daemon, error)
        return EXIT_CONFIGURATION
    sink = None
    if config.metrics == "cloudwatch":
        sink = CloudWatchSink(runtime, vitals.take, lambda: _cloudwatch(config.region), config.metrics_seconds)
    pages = Pages(config, mesh, poller, sink, meters, vitals, gate)
    try:
        admin = await loop.create_server(lambda: AdminConnection(pages), *config.admin, reuse_address=True)
    except OSError as error:
        log.error("cannot listen on TRAMO_ADMIN %s:%d: %s", *config.admin, error)
        return EXIT_CONFIGURATION
    runtime.start()
    pages.inbound_bound = await mesh.start()
    if not pages.inbound_bound:
        return EXIT_CONFIGURATION
    log.info("started", extra={"version": sidecar.__version__, "namespace": config.namespace})
    await poller.load()
    runtime.spawn(poller.run(), "registry poller")
    if sink is not None:
        runtime.spawn(sink.run(), "cloudwatch sink")
    reporter = None
    if metadata is not None and identity.task_id:
        reporter = HealthReporter(runtime, identity.task_id, metadata, connect(), mesh.drain)
        runtime.spawn(reporter.run(), "health reporter")
    runtime.spawn(MemoryWatch(runtime).run(), "memory watch")
    gc.collect()
    gc.freeze()  # what is here now stays: the collector need not walk it again
    await stop.wait()
    callers_come = INTERVALS * poller.longest_interval if config.inbound else 0.0
    await drain(mesh, callers_come, config.drain_seconds)
    mesh.close()
    admin.close()
    if sink is not None:
        await sink.close()
    telemetry.close()
    if reporter is not None:
        reporter.close()
    poller.close()
    runtime.stop()
    log.info("stopped")
    return 0


async def drain(mesh: Mesh, least: float, seconds: float) -> None:
    """Serve for `least` seconds from the begin of the drain, then until it is quiet; from now on at most `seconds`."""
    began = mesh.drain()
    runtime = mesh.runtime
    started = quiet_since = runtime.now()
    arrivals = mesh.arrivals()
    log.info("draining", extra={"work": runtime.work, "at_least_seconds": least, "at_most_seconds": seconds})
    while (now := runtime.now()) - started < seconds:
        before, arrivals = arrivals, mesh.arrivals()
        if runtime.work or arrivals != before:
            quiet_since = now
        elif now - quiet_since >= QUIET_SECONDS and now - began >= least:
            break
        await asyncio.sleep(0.05)
    if runtime.work:
        log.warning("cut %d requests or tunnels that did not end in %.0f s", runtime.work, seconds)


def _identify(metadata: TaskMetadata | None) -> TaskIdentity:
    """Who this task is. Not knowing it costs dimensions of metrics, zone awareness and health reports, not traffic."""
    if metadata is None:
        return TaskIdentity()
    try:
        return identify(metadata.identity)
    except MetadataError as error:
        log.warning("%s", error)
        return TaskIdentity()


def _cloudwatch(region: str) -> CloudWatch:
    from botocore.config import Config as ClientConfig

    # A session of its own, which ends here: it holds the endpoints of all services in all regions.
    client = botocore.session.Session().create_client(
        "cloudwatch",
        region_name=region,
        config=ClientConfig(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}),
    )
    _release_memory()
    return cast("CloudWatch", client)  # its methods are made at run time from the service's model


def _release_memory() -> None:
    """Give free memory back to the kernel, where the C library can (glibc): 2 to 3 MiB once a client is made."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
