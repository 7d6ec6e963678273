"""Rounds of load on proxies in turn, and the figures of each.

Every round goes over all proxies, each round beginning with another one: what disturbs the machine meanwhile disturbs
all of them. Figures are the medians of the rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks import envoy
from tests.benchmarks.cases import MEMORY_ENDPOINTS, MEMORY_SERVICES, TELEMETRY, Case, Group
from tests.benchmarks.control_plane import Service
from tests.benchmarks.load import Load, Run, run
from tests.benchmarks.processes import READY_SECONDS
from tests.benchmarks.proxies import ENVOY, HAPROXY, NGINX, PORT, TRAMO, Field, Proxy
from tests.support.waiting import until

WARM_SECONDS: Final = 1
_MEMORY_LOAD: Final = Load("wrk", "/100", 32)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one proxy in one case. Microseconds, requests per second, bytes."""

    proxy: str
    cpu: float
    rate: float
    p50: float
    p99: float
    pss: int
    errors: int


@dataclass(frozen=True, slots=True)
class Row:
    """One case with the figures of all proxies."""

    group: str
    case: str
    figures: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """PSS in bytes with all endpoints loaded, before any traffic and after some."""

    proxy: str
    idle: int
    loaded: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and for how many seconds each load runs, and which cases."""

    rounds: int
    seconds: int
    quick: bool


Open = Callable[[], Field]
Tell = Callable[[str], None]


def measure_group(group: Group, plan: Plan, open_field: Open, tell: Tell) -> list[Row]:
    """Set a group's proxies up side by side and run its cases."""
    with ExitStack() as stack:
        field = open_field()
        stack.callback(field.close)
        proxies = _proxies(group, field)
        for proxy in proxies:
            run(group.cases[-1].load, proxy.host, proxy.port, WARM_SECONDS, field.directory)
        rows = []
        for case in group.cases:
            if case.quick or not plan.quick:
                tell(f"{group.title}: {case.name}")
                rows.append(_measure_case(group, case, plan, proxies, field.directory))
        return rows


def _proxies(group: Group, field: Field) -> list[Proxy]:
    service = field.servers(group.protocol)
    if group.name == "path":
        return [field.tramo_twice(service), field.envoy_twice(service)]
    if group.name == TELEMETRY:
        return _with_telemetry(field, service)
    found = field.tramos(service)
    makers = {ENVOY: field.envoy, NGINX: field.nginx, HAPROXY: field.haproxy}
    return found + [makers[name](service) for name in group.proxies if name != TRAMO]


def _with_telemetry(field: Field, service: Service) -> list[Proxy]:
    variants: dict[str, dict[str, str]] = {
        "tramo": {},
        "tramo, metrics sent every second": {"TRAMO_METRICS_SECONDS": "1"},
        "tramo, traces of 5 % to X-Ray": {"TRAMO_TRACING": "xray", "AWS_XRAY_DAEMON_ADDRESS": field.sink()},
        "tramo, traces of 5 % by OTLP": {
            "OTEL_EXPORTER_OTLP_ENDPOINT": field.collector(),
            "OTEL_METRICS_EXPORTER": "none",
        },
        "tramo, access log": {"TRAMO_ACCESS_LOG": "json"},
    }
    found = [
        field.tramo_with(service, number, name, variables)
        for number, (name, variables) in enumerate(variants.items(), start=1)
    ]
    return [*found, field.envoy(service), field.envoy_logging(service, "envoy, access log")]


def _measure_case(group: Group, case: Case, plan: Plan, proxies: Sequence[Proxy], directory: Path) -> Row:
    samples: dict[str, list[tuple[float, Run]]] = {proxy.name: [] for proxy in proxies}
    for number in range(plan.rounds):
        turn = number % len(proxies)
        for proxy in (*proxies[turn:], *proxies[:turn]):
            before = proxy.cpu_seconds()
            result = run(case.load, proxy.host, proxy.port, plan.seconds, directory)
            samples[proxy.name].append((proxy.cpu_seconds() - before, result))
    return Row(group.name, case.name, tuple(_figures(proxy, samples[proxy.name]) for proxy in proxies))


def _figures(proxy: Proxy, samples: Sequence[tuple[float, Run]]) -> Figures:
    runs = [result for _, result in samples]
    return Figures(
        proxy=proxy.name,
        cpu=median(seconds * 1e6 / max(result.requests, 1) for seconds, result in samples),
        rate=median(result.rate for result in runs),
        p50=median(result.p50 for result in runs),
        p99=median(result.p99 for result in runs),
        pss=proxy.pss_bytes(),
        errors=sum(result.errors for result in runs),
    )


def measure_memory(open_field: Open, tell: Tell) -> list[Memory]:
    """Load 2,000 endpoints of 50 services, each service with its own listener, metrics on; then some traffic."""
    tell(f"memory with {MEMORY_ENDPOINTS} endpoints")
    with ExitStack() as stack:
        field = open_field()
        stack.callback(field.close)
        services = _many(field.servers("http"))
        plane = field.control_plane(*services)
        sidecar = field.tramo(plane, services[0])
        listeners = [
            (f"{field.prefix}.230.{number}", PORT, service) for number, service in enumerate(services, start=1)
        ]
        program = field.keep(envoy.start(field.directory, field.proxy_cpu, listeners))
        program.wait_for(listeners[-1][0], PORT)
        found = []
        for proxy in (sidecar, Proxy(ENVOY, listeners[0][0], PORT, (program,))):
            idle = proxy.pss_bytes()
            run(_MEMORY_LOAD, proxy.host, proxy.port, WARM_SECONDS, field.directory)
            if proxy is sidecar:
                until(lambda: plane.puts, READY_SECONDS, "metrics")  # the call is part of the memory
            found.append(Memory(proxy.name, idle, proxy.pss_bytes()))
        return found


def _many(first: Service) -> list[Service]:
    """The service with real endpoints, and others with endpoints that nobody calls."""
    count = MEMORY_ENDPOINTS - len(first.endpoints)
    others = MEMORY_SERVICES - 1
    found = [first]
    for number in range(others):
        size = count // others + (number < count % others)
        endpoints = tuple((f"10.{number}.{index >> 8}.{(index & 255) + 1}", PORT) for index in range(size))
        found.append(Service(f"service-{number:02d}", "http", number + 3, PORT, endpoints))
    return found
