"""The proxies of a comparison, each with its own address in front of the same endpoints.

The sidecar is its compiled wheel in an environment of its own, as in its image, with its defaults, and an API on
loopback: snapshots are polled, disk cache and hosts file written, metrics sent; outlier detection, retries and circuit
breakers are on, the access log is off. Beside it runs the same source in pure Python.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.benchmarks import anchors, envoy, servers
from tests.benchmarks.control_plane import NAMESPACE, ControlPlane, Service
from tests.benchmarks.limits import Limits
from tests.benchmarks.processes import READY_SECONDS, Program
from tests.support.waiting import until
from tests.support.wire.answer_server import AnswerServer, Response

REPOSITORY: Final = Path(__file__).parents[2]
INTERPRETER: Final = REPOSITORY / ".tools" / "sidecar" / "bin" / "python"
"""`make bench` installs the sidecar there."""
_BUILD: Final = "from sidecar import build; print(build.kind())"
TRAMO: Final = "tramo"
PURE: Final = "tramo pure"
BESIDE: Final = "tramo beside"
ENVOY: Final = "envoy"
NGINX: Final = "nginx"
HAPROXY: Final = "haproxy"
PORT: Final = 8080
STREAMS: Final = "grpc streams"
METRICS_SECONDS: Final = 10
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
_INGRESS: Final = (15101, 15102, 15103, 15104)


@dataclass(frozen=True, slots=True)
class Proxy:
    """What is measured: where it listens, and the processes that it consists of."""

    name: str
    host: str
    port: int
    programs: tuple[Program, ...]

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        return sum(program.cpu_seconds() for program in self.programs)

    def pss_bytes(self) -> int:
        """Memory of all its processes."""
        return sum(program.pss_bytes() for program in self.programs)


class Field:
    """A loopback network, a directory and two CPUs, on which proxies and servers are set up and taken down."""

    def __init__(
        self, prefix: str, directory: Path, proxy_cpu: int, load_cpu: int, checkouts: Mapping[str, Path]
    ) -> None:
        self.prefix = prefix
        self.directory = directory
        self.proxy_cpu = proxy_cpu
        self.load_cpu = load_cpu
        self._checkouts = checkouts
        self._stack = ExitStack()
        servers.write_files(directory)

    def close(self) -> None:
        """End all that was started."""
        self._stack.close()

    def keep(self, program: Program) -> Program:
        """End this program with the field."""
        self._stack.callback(program.stop)
        return program

    def servers(self, protocol: str) -> Service:
        """Start the endpoints of a protocol. Return the service that they make up."""
        block = {"http2": 241, "grpc": 242, STREAMS: 243}.get(protocol, 240)
        where = servers.addresses(self.prefix, block)
        if protocol == STREAMS:
            programs = servers.streaming(self.directory, where, self.load_cpu)
        elif protocol in ("http2", "grpc"):
            programs = servers.http2(self.directory, where, self.load_cpu, protocol == "grpc")
        else:
            programs = servers.http1(self.directory, where, self.load_cpu)
        for program in programs:
            self.keep(program)
        for address, port in where:
            programs[0].wait_for(address, port)
        return Service("bench", "grpc" if protocol == STREAMS else protocol, 2, PORT, where)

    def control_plane(self, *services: Service) -> ControlPlane:
        """Start an API that serves these services."""
        plane = ControlPlane(f"{self.prefix}.250.1", services)
        self._stack.callback(plane.close)
        return plane

    def sink(self) -> str:
        """The address of a UDP socket that nobody reads: what is sent there is dropped by the kernel."""
        sink = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sink.bind((f"{self.prefix}.250.2", 0))
        host, port = sink.getsockname()
        return f"{host}:{port}"

    def collector(self) -> str:
        """The address of a server that takes OTLP/HTTP, as a collector does, and keeps nothing of it."""
        taken = Response(200, {"Content-Type": "application/x-protobuf"})
        return self._stack.enter_context(AnswerServer(lambda _: taken, f"{self.prefix}.250.3")).origin

    # The sidecar.

    def tramos(self, service: Service) -> list[Proxy]:
        """The sidecar, and what is to be measured beside it, in front of a service."""
        found = [self.tramo(self.control_plane(service), service)]
        for number, (name, root) in enumerate(self._checkouts.items(), start=1):
            other = replace(service, vip_number=service.vip_number + 256 * number)
            found.append(self.tramo(self.control_plane(other), other, name, root))
        return found

    def tramo_with(
        self,
        service: Service,
        number: int,
        name: str,
        variables: Mapping[str, str] = NO_VARIABLES,
        limits: Limits | None = None,
    ) -> Proxy:
        """The sidecar with other settings than the defaults; `number` tells several of the same service apart."""
        other = replace(service, vip_number=service.vip_number + 256 * number)
        return self.tramo(self.control_plane(other), other, name, variables=variables, limits=limits)

    def tramo(
        self,
        plane: ControlPlane,
        service: Service,
        name: str = TRAMO,
        root: Path | None = None,
        variables: Mapping[str, str] = NO_VARIABLES,
        limits: Limits | None = None,
    ) -> Proxy:
        """The sidecar, at the service's virtual address."""
        host = f"{self.prefix}.{service.vip_number >> 8}.{service.vip_number & 255}"
        number = service.vip_number >> 8
        program = self._sidecar(name, number, plane.origin, root, variables, limits)
        program.wait_for(host, PORT)
        return Proxy(name, host, PORT, (program,))

    def tramo_twice(self, service: Service) -> Proxy:
        """The calling task's sidecar, and in front of the service the sidecar of the called one."""
        address = f"{self.prefix}.235.1"
        inbound = ",".join(f"bench{port}={port}:{service.endpoints[0][1]}/{service.protocol}" for port in _INGRESS)
        inner = self._sidecar(
            "tramo-inner",
            9,
            self.control_plane().origin,
            None,
            {
                "TRAMO_INBOUND": inbound,
                "TRAMO_LISTEN_ADDRESS": address,
                "TRAMO_APP_ADDRESS": service.endpoints[0][0],
            },
            None,
        )
        outer = replace(service, endpoints=tuple((address, port) for port in _INGRESS))
        proxy = self.tramo(self.control_plane(outer), outer)
        return replace(proxy, programs=(*proxy.programs, inner))

    def _sidecar(
        self,
        name: str,
        number: int,
        api: str,
        root: Path | None,
        variables: Mapping[str, str],
        limits: Limits | None,
    ) -> Program:
        admin = (f"{self.prefix}.0.1", 9901 + number)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("TRAMO_", "AWS_"))}
        hosts = self.directory / f"{name}.hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        environment = {
            **inherited,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": api,
            "TRAMO_NAMESPACE": NAMESPACE,
            "TRAMO_API_URL": api,
            "TRAMO_VIP_NETWORK": f"{self.prefix}.0.0/16",
            "TRAMO_FORWARD_PROXY": f"{self.prefix}.0.1:{15001 + number}",
            "TRAMO_ADMIN": f"{admin[0]}:{admin[1]}",
            "TRAMO_HOSTS_FILE": str(hosts),
            "TRAMO_CACHE_FILE": str(self.directory / f"{name}.cache"),
            "TRAMO_METRICS_SECONDS": str(METRICS_SECONDS),
            "TRAMO_SERVICE_NAME": "bench-svc",
            "TRAMO_CLUSTER_NAME": "main",
            "TRAMO_ZONE": "us-east-1a",
            "TRAMO_DRAIN_SECONDS": "1",
            **variables,
        }
        log = self.directory / f"{name}.log"
        # In a checkout Python takes the sidecar from there, elsewhere from where it is installed.
        command = [str(INTERPRETER), "-m", "sidecar"]
        program = self.keep(Program(command, self.proxy_cpu, log, environment, root or self.directory, limits))
        until(lambda: _ready(program, admin), READY_SECONDS, f"{name} to be ready")
        return program

    # The others.

    def envoy(
        self, service: Service, limits: Limits | None = None, likeness: envoy.Likeness = envoy.Likeness.TRAMO
    ) -> Proxy:
        """Envoy in front of a service."""
        host = f"{self.prefix}.231.1"
        listeners = [(host, PORT, service)]
        program = self.keep(envoy.start(self.directory, self.proxy_cpu, listeners, limits=limits, likeness=likeness))
        program.wait_for(host, PORT)
        return Proxy(ENVOY, host, PORT, (program,))

    def envoy_logging(self, service: Service, name: str) -> Proxy:
        """Envoy with its access log in a file."""
        host = f"{self.prefix}.231.2"
        listeners = [(host, PORT, service)]
        program = self.keep(envoy.start(self.directory, self.proxy_cpu, listeners, "envoy-log", access_log=True))
        program.wait_for(host, PORT)
        return Proxy(name, host, PORT, (program,))

    def envoy_twice(self, service: Service) -> Proxy:
        """Envoy in front of Envoy, as the two sidecars stand."""
        where = servers.addresses(self.prefix, 234)
        app = replace(service, name="app", endpoints=service.endpoints[:1])
        listeners = [(address, port, app) for address, port in where]
        inner = self.keep(envoy.start(self.directory, self.proxy_cpu, listeners, "envoy-inner"))
        inner.wait_for(*where[-1])
        proxy = self.envoy(replace(service, endpoints=where))
        return replace(proxy, programs=(*proxy.programs, inner))

    def nginx(self, service: Service) -> Proxy:
        """Nginx in front of a service."""
        host = f"{self.prefix}.232.1"
        program = self.keep(anchors.start_nginx(self.directory, self.proxy_cpu, host, PORT, service))
        program.wait_for(host, PORT)
        return Proxy(NGINX, host, PORT, (program,))

    def haproxy(self, service: Service) -> Proxy:
        """HAProxy in front of a service."""
        host = f"{self.prefix}.233.1"
        program = self.keep(anchors.start_haproxy(self.directory, self.proxy_cpu, host, PORT, service))
        program.wait_for(host, PORT)
        return Proxy(HAPROXY, host, PORT, (program,))


def sidecar_kind() -> str:
    """Whether the sidecar is compiled. Raises RuntimeError when none is installed."""
    if not INTERPRETER.exists():
        raise RuntimeError(f"there is no {INTERPRETER}; `make bench` sets it up")
    return sidecar_says("-c", _BUILD)


def sidecar_says(*arguments: str) -> str:
    """What the sidecar's interpreter, without this checkout on its path, prints."""
    finished = subprocess.run(
        [str(INTERPRETER), "-P", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=READY_SECONDS,
    )
    return finished.stdout.strip()


def _ready(program: Program, admin: tuple[str, int]) -> bool:
    program.check()
    connection = HTTPConnection(*admin, timeout=5.0)
    try:
        with suppress(OSError):
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        return False
    finally:
        connection.close()
