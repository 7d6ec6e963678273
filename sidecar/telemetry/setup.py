"""The parts of telemetry that the configuration asks for, put together."""

from __future__ import annotations

import socket
import sys
import time

from sidecar.config import Config
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.cloudwatch import DEFAULT_MESH, CloudWatchSink, connect
from sidecar.telemetry.emf import EmfSink
from sidecar.telemetry.output import Output
from sidecar.telemetry.recorder import AccessLog, Recorder, Tracing
from sidecar.telemetry.vitals import Vitals
from sidecar.telemetry.xray import XRayExporter


class Telemetry:
    """Access log, tracing and metrics. What is off is None."""

    def __init__(self, runtime: Runtime, config: Config, vitals: Vitals) -> None:
        self.cloudwatch: CloudWatchSink | None = None
        self.output: Output | None = None
        self.emf: EmfSink | None = None
        self.xray: XRayExporter | None = None
        self._runtime = runtime
        self._config = config
        self._vitals = vitals
        self._sending = False

    async def start(self, service: str) -> None:
        """Start what is on, for a task of this service. Raises OSError when the X-Ray daemon has no address."""
        config, runtime = self._config, self._runtime
        namespace = config.mesh or DEFAULT_MESH
        if config.access_log != "off" or config.metrics == "emf":
            self.output = Output(runtime.loop, sys.stdout.fileno())
        if config.tracing == "xray":
            found = await runtime.loop.getaddrinfo(*config.xray_daemon, type=socket.SOCK_DGRAM)
            family, _, _, _, address = found[0]
            self.xray = XRayExporter(address, family, service or config.namespace, runtime.random)
        if self.output is not None and config.metrics == "emf":
            self.emf = EmfSink(namespace, self._vitals.take, self.output, config.metrics_seconds)
        if config.metrics == "cloudwatch":
            take, seconds = self._vitals.take, config.metrics_seconds
            self.cloudwatch = CloudWatchSink(runtime, namespace, take, lambda: connect(config.region), seconds)
        log = None
        if self.output is not None and config.access_log != "off":
            text = config.access_log == "text"
            headers = frozenset(config.access_log_headers)
            log = AccessLog(self.output, text, config.access_log_sample, config.access_log_query, headers)
        tracing = Tracing(self.xray, config.tracing_rate) if self.xray is not None else None
        if log is not None or tracing is not None:
            runtime.recorder = Recorder(runtime, log, tracing, time.time)

    def send(self) -> None:
        """Send metrics from now on."""
        self._sending = True
        if self.emf is not None:
            self._runtime.spawn(self.emf.run(), "emf sink")
        if self.cloudwatch is not None:
            self._runtime.spawn(self.cloudwatch.run(), "cloudwatch sink")

    async def close(self) -> None:
        """Send and write the rest; of a sidecar that did not start there is none."""
        if self.cloudwatch is not None and self._sending:
            await self.cloudwatch.close()
        if self.emf is not None and self._sending:
            self.emf.flush()
        if self.output is not None:
            self.output.close()
        if self.xray is not None:
            self.xray.close()
