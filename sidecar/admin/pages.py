"""The admin pages as values: path to (status, document).

Pages show what this sidecar really holds, not what it was told to hold. Reading them changes nothing; the two
ACTIONS are asked for by POST.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

import sidecar
from sidecar import build
from sidecar.config import LOG_LEVELS, Config
from sidecar.core.label import DEFAULT_MESH
from sidecar.core.meters import Meters
from sidecar.core.metrics import COUNTER, GAUGE
from sidecar.core.routing.endpoint import EJECTED, Endpoint
from sidecar.findings import Findings
from sidecar.proxy.mesh import Mesh
from sidecar.proxy.redirect import State
from sidecar.proxy.upstream.destination import Destination
from sidecar.registry.gate import Gate, GateState
from sidecar.registry.poller import Poller
from sidecar.registry.sources import Sources
from sidecar.telemetry import prometheus
from sidecar.telemetry.cloudwatch import CloudWatchSink
from sidecar.telemetry.otlp import OtlpExporter
from sidecar.telemetry.prometheus import Family, Labels
from sidecar.telemetry.vitals import Vitals

Page = tuple[int, dict[str, Any]]

PAGES: Final = {
    "/": "the list of pages",
    "/ready": "200 when traffic can be taken (listeners, a snapshot, memory, no drain), else 503; and the findings",
    "/live": "200 while the process answers",
    "/gate": "200 once callers know this task's endpoints and its app listens, for the gate container; else 503 with"
    " what it waits for",
    "/clusters": "the snapshot's revision, age and source; services with their endpoints, states and counts",
    "/metrics": "all metrics for Prometheus, as OpenMetrics if asked for",
    "/stats": "version, build (compiled or pure Python), work under way, timers, tasks, metrics sent",
    "/logging": "the level of the sidecar's own log",
    "/config": "the configuration as understood, and where the sidecar listens or could not",
}
"""The pages, with what each shows; the documentation is generated from it."""


ACTIONS: Final = {
    "/drain": "stop being ready and finish what is under way, as SIGTERM does, but stay until SIGTERM comes, which ECS "
    "sends after the health check's retries, 50 s by `tramo inject`",
    "/logging": "set that level until the next start, as in `curl -X POST '127.0.0.1:9901/logging?level=DEBUG'`",
}
"""What POST does at these pages; the documentation is generated from it."""


class Pages:
    """The documents behind the admin port."""

    def __init__(
        self,
        config: Config,
        mesh: Mesh,
        poller: Poller,
        sink: CloudWatchSink | None,
        meters: Meters,
        vitals: Vitals,
        gate: Gate,
        findings: Findings,
        sources: Sources,
        otlp: OtlpExporter | None = None,
    ) -> None:
        self._config = config
        self._mesh = mesh
        self._poller = poller
        self._sink = sink
        self._otlp = otlp
        self._meters = meters
        self._vitals = vitals
        self._gate = gate
        self._findings = findings
        self._sources = sources
        self._pages: dict[str, Callable[[], Page]] = {
            "/": lambda: (200, {"pages": PAGES, "actions": ACTIONS}),
            "/ready": self._ready,
            "/live": lambda: (200, {"live": True}),
            "/gate": self._gate_page,
            "/clusters": self._clusters,
            "/stats": self._stats,
            "/config": self._configuration,
            "/logging": self._logging,
        }
        self.inbound_bound = False

    def get(self, path: str) -> Page:
        """Return the page at this path."""
        page = self._pages.get(path)
        if page is None:
            return 404, {"error": f"no page {path}", "pages": list(PAGES)}
        return page()

    def post(self, path: str, query: str) -> Page:
        """Do what POST does at this path."""
        if path == "/drain":
            self._mesh.drain()
            return 200, {"draining": self._mesh.runtime.draining, "work": self._mesh.runtime.work}
        if path == "/logging":
            return self._set_level(query)
        return 405, {"error": f"the page {path} is read with GET", "actions": list(ACTIONS)}

    def _logging(self) -> Page:
        return 200, {"level": logging.getLevelName(logging.getLogger().level)}

    def _set_level(self, query: str) -> Page:
        level = parse_qs(query).get("level", [""])[0].upper()
        if level not in LOG_LEVELS:
            return 400, {"error": f"level is {level!r}; it should be one of {', '.join(LOG_LEVELS)}"}
        logging.getLogger().setLevel(level)
        return self._logging()

    def metrics(self, accept: bytes | None) -> tuple[bytes, bytes]:
        """Return the page /metrics: its content type, by what the reader accepts, and its text."""
        self._vitals.refresh()
        openmetrics = prometheus.wants_openmetrics(accept)
        text = prometheus.render(prometheus.families(self._meters, self._own_families()), openmetrics)
        return prometheus.OPENMETRICS_TYPE if openmetrics else prometheus.TEXT_TYPE, text

    def _own_families(self) -> list[Family]:
        version: Labels = (("version", sidecar.__version__),)
        found = [
            Family("tramo_build_info", GAUGE, "The version of the sidecar.", [("", version, 1.0)]),
            Family("tramo_work", GAUGE, "Requests and tunnels under way.", [("", (), float(self._mesh.runtime.work))]),
        ]
        recorder = self._mesh.runtime.recorder
        lines = recorder.counts().get("access_log") if recorder is not None else None
        if lines is not None:
            help = "Lines of the access log, by what became of them."
            found.append(Family("tramo_access_log_lines", COUNTER, help, _by_result(lines)))
        if self._sink is not None:
            help = "Metric values that went to CloudWatch, by what became of them."
            counts = {"sent": self._sink.sent, "dropped": self._sink.dropped}
            found.append(Family("tramo_cloudwatch_values", COUNTER, help, _by_result(counts)))
        if self._otlp is not None:
            help = "Spans for OTLP, by what became of them."
            found.append(Family("tramo_otlp_spans", COUNTER, help, _by_result(self._otlp.spans())))
            help = "Calls to the OTLP collector, by what became of them."
            found.append(Family("tramo_otlp_calls", COUNTER, help, _by_result(self._otlp.calls())))
        return found

    def _ready(self) -> Page:
        checks = {
            "inbound": self.inbound_bound,
            "snapshot": self._mesh.snapshot is not None and not self._poller.is_behind,
            "draining": self._mesh.runtime.draining,
            "shedding": self._mesh.runtime.shedding,
        }
        ready = checks["inbound"] and checks["snapshot"] and not (checks["draining"] or checks["shedding"])
        redirect = self._mesh.redirect
        if redirect is not None:
            checks["redirect"] = redirect.state is State.IN_PLACE
            ready = ready and checks["redirect"]
        findings = [finding.document() for finding in self._findings.current()]
        page = {"ready": ready, **checks, "registry": self._sources.state.value, "findings": findings}
        return (200 if ready else 503), page

    def _gate_page(self) -> Page:
        now = self._mesh.runtime.now()
        return (200 if self._gate.state(now) is GateState.OPEN else 503), self._gate.describe(now)

    def _clusters(self) -> Page:
        snapshot = self._mesh.snapshot
        confirmed = self._poller.confirmed_at
        return 200, {
            "namespace": self._config.namespace,
            "revision": snapshot.revision if snapshot is not None else 0,
            "source": self._poller.source,
            "age_seconds": round(self._mesh.runtime.now() - confirmed, 3) if confirmed else None,
            "clusters": [self._cluster(name) for name in sorted(self._mesh.destinations)],
        }

    def _cluster(self, name: str) -> dict[str, Any]:
        destination: Destination = self._mesh.destinations[name]
        cluster = destination.cluster
        record = self._mesh.snapshot.services.get(name) if self._mesh.snapshot is not None else None
        return {
            "name": name,
            "protocol": cluster.protocol,
            "endpoints_of_other_kind": cluster.other_kind,
            "vip": self._mesh.local_address(record.vip) if record is not None else "",
            "aliases": [f"{alias.dns_name}:{alias.port}" for alias in record.aliases] if record is not None else [],
            "active_requests": cluster.active_requests,
            "pending_requests": cluster.pending_requests,
            "connections": cluster.connections,
            "retries": destination.meter.retries,
            "ejections": destination.meter.ejections,
            "overflows": destination.meter.overflows,
            "endpoints": [
                {
                    "id": endpoint.id,
                    "address": endpoint.address,
                    "port": endpoint.port,
                    "protocol": endpoint.protocol,
                    "state": endpoint.state,
                    "health": endpoint.health_name(),
                    "health_check": _checked(endpoint),
                    "ejected": endpoint.health == EJECTED,
                    "connect_failure": endpoint.connect_failure,
                    "same_zone": cluster.in_zone(endpoint),
                    "active_requests": endpoint.active,
                    "requests": endpoint.requests,
                    "failures": endpoint.failures,
                    "latency_ms": round(endpoint.latency * 1000.0, 3),
                    "doubt": round(endpoint.doubt, 3),
                }
                for endpoint in cluster.endpoints
            ],
        }

    def _stats(self) -> Page:
        snapshot = self._mesh.snapshot
        stats: dict[str, Any] = {
            "version": sidecar.__version__,
            "build": build.kind(),
            "work": self._mesh.runtime.work,
            "timers": len(self._mesh.runtime.wheel),
            "tasks": len(asyncio.all_tasks(self._mesh.runtime.loop)),
            "draining": self._mesh.runtime.draining,
            "clients": self._mesh.runtime.clients.describe(),
            "held": self._mesh.runtime.held.describe(),
            "polls_failed_in_a_row": self._poller.failures,
            "unreadable": sum(map(len, snapshot.unreadable.values())) if snapshot is not None else 0,
            "registry": self._sources.describe(),
        }
        change = self._poller.last_change
        if change is not None:
            stats["last_change"] = {
                "revision": change.revision,
                "bytes": change.bytes,
                "decode_ms": round(change.decode_seconds * 1000.0, 3),
                "apply_ms": round(change.apply_seconds * 1000.0, 3),
            }
        recorder = self._mesh.runtime.recorder
        if recorder is not None:
            stats.update(recorder.counts())
        if self._sink is not None:
            stats["metrics"] = {
                "sent": self._sink.sent,
                "failures": self._sink.failures,
                "dropped": self._sink.dropped,
            }
        if self._otlp is not None:
            stats["otlp"] = {**self._otlp.spans(), "waiting": self._otlp.waiting, "calls": self._otlp.calls()}
        return 200, stats

    def _configuration(self) -> Page:
        mesh = self._mesh
        return 200, {
            "namespace": self._config.namespace,
            "mesh": self._config.mesh or DEFAULT_MESH,
            "api_url": self._config.api_url,
            "feed_table": self._config.feed_table or None,
            "region": self._config.region,
            "inbound": [
                {
                    "name": service.name,
                    "ingress_port": service.ingress_port,
                    "app_port": service.app_port,
                    "protocol": service.protocol,
                }
                for service in self._config.inbound
            ],
            "vip_network": str(self._config.vip_network),
            "redirect": mesh.redirect.state.value if mesh.redirect is not None else None,
            "listening": [f"{host}:{port}" for host, port in mesh.inbound.addresses() + mesh.outbound.addresses()],
            "not_listening": {
                f"{address.host}:{address.port}": why.text
                for listeners in (mesh.inbound, mesh.outbound)
                for address, why in listeners.failed.items()
            },
        }


def _checked(endpoint: Endpoint) -> dict[str, Any] | None:
    """Return what active health checks have found, None where they are off."""
    checked = endpoint.checked
    if checked is None:
        return None
    return {"state": checked.state_name(), "checks": checked.checks, "last_failure": checked.failure}


def _by_result(counts: dict[str, int]) -> list[tuple[str, Labels, float]]:
    return [("_total", (("result", result),), float(count)) for result, count in counts.items()]
