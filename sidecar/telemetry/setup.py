"""The parts of telemetry that the configuration asks for, put together."""

from __future__ import annotations

import asyncio
import socket
import sys
import time

from sidecar.config import Config
from sidecar.core import otlp
from sidecar.core.durations import Durations
from sidecar.core.label import DEFAULT_MESH
from sidecar.core.meters import Meters
from sidecar.credentials import TaskCredentials
from sidecar.metadata import TaskIdentity
from sidecar.proxy.base.runtime import Runtime
from sidecar.telemetry.cloudwatch import CloudWatchSink
from sidecar.telemetry.emf import EmfSink
from sidecar.telemetry.otlp import OtlpExporter, poster
from sidecar.telemetry.otlp_metrics import metrics
from sidecar.telemetry.otlp_resource import resource
from sidecar.telemetry.output import Output
from sidecar.telemetry.put_metric_data import PutMetricData
from sidecar.telemetry.recorder import AccessLog, Recorder, SpanExporter, Tracing
from sidecar.telemetry.vitals import Vitals
from sidecar.telemetry.xray import XRayExporter


class Telemetry:
    """Access log, tracing and metrics. What is off is None."""

    def __init__(
        self, runtime: Runtime, config: Config, meters: Meters, vitals: Vitals, credentials: TaskCredentials
    ) -> None:
        self.cloudwatch: CloudWatchSink | None = None
        self.output: Output | None = None
        self.emf: EmfSink | None = None
        self.xray: XRayExporter | None = None
        self.otlp: OtlpExporter | None = None
        self._runtime = runtime
        self._config = config
        self._meters = meters
        self._vitals = vitals
        self._credentials = credentials
        self._durations = Durations()
        self._started = time.time()
        self._sending = False

    async def start(self, identity: TaskIdentity) -> None:
        """Start what is on, for this task. Raises OSError when the X-Ray daemon has no address."""
        config, runtime = self._config, self._runtime
        service = config.service_name or identity.service_name
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
            put = PutMetricData(config.region, self._credentials, config.cloudwatch_url)
            self.cloudwatch = CloudWatchSink(runtime, namespace, take, put, seconds)
        if config.otlp is not None:
            post = poster(config.otlp.endpoint, dict(config.otlp.headers))
            encoded = self._otlp_metrics if config.otlp.metrics else None
            who = otlp.resource(resource(config, identity))
            self.otlp = OtlpExporter(post, who, encoded, config.metrics_seconds)
        log = None
        if self.output is not None and config.access_log != "off":
            text = config.access_log == "text"
            headers = frozenset(config.access_log_headers)
            log = AccessLog(self.output, text, config.access_log_sample, config.access_log_query, headers)
        tracing = self._tracing()
        durations = self._durations if config.otlp is not None and config.otlp.metrics else None
        if log is not None or tracing is not None or durations is not None:
            runtime.recorder = Recorder(runtime, log, tracing, time.time, durations)

    def _tracing(self) -> Tracing | None:
        """Where spans go, None if nowhere."""
        exporters: list[SpanExporter] = [self.xray] if self.xray is not None else []
        traced = self.otlp is not None and self._config.otlp is not None and self._config.otlp.traces
        if self.otlp is not None and traced:
            exporters.append(self.otlp)
        return Tracing(exporters, self._config.tracing_rate, traced) if exporters else None

    def _otlp_metrics(self) -> list[bytes]:
        self._vitals.refresh()
        spans = self.otlp.spans() if self.otlp is not None else {}
        return metrics(self._meters, self._durations, spans, self._started, time.time())

    def send(self) -> None:
        """Send metrics from now on."""
        self._sending = True
        if self.emf is not None:
            self._runtime.spawn(self.emf.run(), "emf sink")
        if self.cloudwatch is not None:
            self._runtime.spawn(self.cloudwatch.run(), "cloudwatch sink")
        if self.otlp is not None:
            self._runtime.spawn(self.otlp.run_spans(), "OTLP spans")
            self._runtime.spawn(self.otlp.run_metrics(), "OTLP metrics")

    async def close(self) -> None:
        """Send and write the rest; of a sidecar that did not start there is none."""
        sinks = [sink for sink in (self.cloudwatch, self.otlp) if sink is not None and self._sending]
        await asyncio.gather(*(sink.close() for sink in sinks))  # each has a bound of its own
        if self.emf is not None and self._sending:
            self.emf.flush()
        if self.output is not None:
            self.output.close()
        if self.xray is not None:
            self.xray.close()
