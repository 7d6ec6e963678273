"""The sidecar as a real process, with what it needs around it: loopback addresses, an API, endpoints that misbehave.

Every process and thread that is started here is ended by the `with` block or the `close` that belongs to it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import sidecar
from tests.support.control_plane.aws import ENVIRONMENT
from tests.support.waiting import until
from tests.support.wire.answer_server import AnswerServer, Response
from tests.support.wire.answer_server import Request as ApiRequest

_LISTEN: Final = "0A"
"""The state of a listening socket in /proc/net/tcp (proc(5))."""
CODE: Final = Path(sidecar.__file__).parents[1]
"""Where the tests take the sidecar from, the tree or a compiled wheel: the process takes it from there too."""
NAMESPACE: Final = "test.local"
CREDENTIALS: Final = {name: value for name, value in ENVIRONMENT.items() if name.startswith("AWS_")}
POLL_SECONDS: Final = 0.1
STOP_SECONDS: Final = 15.0
_LOCK_PORT: Final = 47_615
BACKLOG: Final = 4_096
"""Of a backend: a thousand connects at once are dropped beyond it, and tried again by the kernel after a second."""


@contextmanager
def network() -> Iterator[str]:
    """Yield the first two numbers of a loopback /16 that no other test run uses, such as `127.203`."""
    for number in range(200, 250):
        lock = socket.socket()
        try:
            lock.bind((f"127.{number}.0.1", _LOCK_PORT))
        except OSError:
            lock.close()
            continue
        with lock:
            yield f"127.{number}"
            return
    raise RuntimeError("all networks from 127.200.0.0/16 to 127.249.0.0/16 are taken by other test runs")


# Endpoints.


@dataclass
class Request:
    """A request as an endpoint read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


class Peer:
    """One connection to an endpoint, with plain reads and writes."""

    def __init__(self, connection: socket.socket, backend: Backend) -> None:
        self.socket = connection
        self.backend = backend
        self.file = connection.makefile("rb")

    def read_request(self) -> Request | None:
        """The next request, None at the end of the connection."""
        line = self.file.readline()
        if not line.endswith(b"\n"):
            return None
        method, path, _ = line.decode("latin-1").split(" ")
        request = Request(method, path, self._fields())
        if "content-length" in request.headers:
            request.body = self.file.read(int(request.headers["content-length"]))
        elif request.headers.get("transfer-encoding") == "chunked":
            while size := int(self.file.readline(), 16):
                request.body += self.file.read(size)
                self.file.readline()
            request.trailers = self._fields()
        return request

    def _fields(self) -> dict[str, str]:
        fields = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip(" \r\n")
        return fields

    def answer(self, status: int = 200, body: bytes = b"", *fields: str) -> None:
        """Send an answer with a length."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", f"X-Backend: {self.backend.name}", *fields]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def reset(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.file.close()
        self.socket.close()


Behaviour = Callable[[Peer, Request], None]


class Backend:
    """A small server. `behaviours` maps paths to what happens there; other paths answer 200 with the name."""

    def __init__(self, name: str, address: str, port: int = 0) -> None:
        self.name = name
        self.behaviours: dict[str, Behaviour] = {}
        self.requests: list[Request] = []
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.raw: Callable[[socket.socket], None] | None = None  # instead of HTTP
        self._listener = socket.create_server((address, port), backlog=BACKLOG)
        self.address, self.port = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, name=f"backend {name}", daemon=True)
        self._thread.start()

    def record(self, state: str = "ready") -> dict[str, Any]:
        """This endpoint as a snapshot says it."""
        return endpoint(self.name, self.address, self.port, state)

    def paths(self) -> list[str]:
        """Method and path of all requests, in order."""
        return [f"{request.method} {request.path}" for request in list(self.requests)]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self.open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError, ValueError):
                if self.raw is not None:
                    self.raw(connection)
                else:
                    self._serve_http(Peer(connection, self))
        finally:
            self.open.discard(connection)

    def _serve_http(self, peer: Peer) -> None:
        with peer.file:
            while (request := peer.read_request()) is not None:
                self.requests.append(request)
                behaviour = self.behaviours.get(request.path)
                if behaviour is None:
                    peer.answer(200, self.name.encode())
                else:
                    behaviour(peer, request)
                if request.headers.get("connection") == "close":
                    return

    def close(self) -> None:
        """Stop listening and cut all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(STOP_SECONDS)
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def endpoint(name: str, address: str, port: int, state: str = "ready") -> dict[str, Any]:
    """An endpoint's record."""
    return {
        "id": f"{name}/http", "address": address, "port": port, "zone": None, "state": state, "weight": 100,
        "task_definition": "test:1", "deployment": None, "since": "2026-11-22T12:00:00Z",
    }  # fmt: skip


# The API.


class SnapshotApi:
    """The control plane's one route that sidecars poll, with the rules of its ETag and of deltas."""

    def __init__(self) -> None:
        self.revision = 1
        self.services: dict[str, dict[str, Any]] = {}
        self.away = False
        self.deltas = 0
        self.headers: list[Mapping[str, str]] = []
        self._removed: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = AnswerServer(self.answer)
        self.url = f"{self._server.origin}/stage"

    def answer(self, request: ApiRequest) -> Response:
        with self._lock:
            self.headers.append(request.fields)
            parts = urlsplit(request.target)
            if self.away:
                return Response(503)
            if parts.path != f"/stage/v1/namespaces/{NAMESPACE}/snapshot":
                return Response(404)
            fields = {"ETag": f'"{self.revision}"', "Tramo-Poll-Seconds": str(POLL_SECONDS)}
            if request.fields.get("if-none-match") == fields["ETag"]:
                return Response(304, fields)
            since = parse_qs(parts.query).get("since")
            return Response(200, fields, json.dumps(self._document(int(since[0]) if since else None)).encode())

    def _document(self, since: int | None) -> dict[str, Any]:
        document: dict[str, Any] = {
            "schema": 1,
            "namespace": NAMESPACE,
            "revision": self.revision,
            "generated_at": "2026-11-22T12:00:00Z",
            "services": list(self.services.values()),
        }
        if since is not None:
            self.deltas += 1
            document["services"] = [service for service in self.services.values() if service["revision"] > since]
            gone = [name for name, revision in self._removed.items() if revision > since and name not in self.services]
            document |= {"since": since, "removed": gone}
        return document

    def publish(self, service: dict[str, Any]) -> int:
        """Put a service into the namespace; return the new revision."""
        with self._lock:
            self.revision += 1
            self.services[service["name"]] = service | {"revision": self.revision}
            return self.revision

    def withdraw(self, name: str) -> None:
        """Take a service out of the namespace."""
        with self._lock:
            self.revision += 1
            del self.services[name]
            self._removed[name] = self.revision

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


# The process.


class Sidecar:
    """`python -m sidecar` as a child process."""

    def __init__(self, environment: Mapping[str, str], log: Path, group: int | None = None) -> None:
        self.environment = dict(environment)
        self.log = log
        ours = ("TRAMO_", "AWS_", "OTEL_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        with log.open("ab") as stderr, log.with_suffix(".out").open("ab") as stdout:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidecar"],
                env={**inherited, **CREDENTIALS, **environment},
                cwd=CODE,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                group=group,
            )

    def page(self, path: str) -> tuple[int, Any]:
        """An admin page: its status and document."""
        status, body = self._get(path)
        return status, json.loads(body)

    def _get(self, path: str) -> tuple[int, bytes]:
        host, _, port = self.environment["TRAMO_ADMIN"].rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metrics(self) -> tuple[int, str]:
        """The page /metrics: its status and text."""
        status, body = self._get("/metrics")
        return status, body.decode()

    def cluster(self, name: str) -> Any:
        """One cluster of the page /clusters, None when it is not there."""
        found = [cluster for cluster in self.page("/clusters")[1]["clusters"] if cluster["name"] == name]
        return found[0] if found else None

    def is_ready(self) -> bool:
        """Whether /ready says so. Raises when the process has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the sidecar ended with {self.process.returncode}:\n{self.log.read_text()}")
        with suppress(OSError):
            return self.page("/ready")[0] == 200
        return False

    def wait_ready(self) -> None:
        """Wait until the sidecar is ready."""
        until(self.is_ready, 20, "the sidecar to be ready")

    def memory_kib(self) -> int:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def signal(self) -> None:
        """Ask the process to end."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End the process: politely, then not. Return its exit code."""
        if self.process.poll() is None:
            self.signal()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(STOP_SECONDS)


# All together.


class Stage:
    """A namespace with one sidecar: publish a service, then call it at its address."""

    def __init__(self, prefix: str, directory: Path, group: int | None = None, /, **environment: str) -> None:
        self.prefix = prefix
        self.group = group  # of the sidecar's process
        self.api = SnapshotApi()
        self.backends: list[Backend] = []
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.cache = directory / "snapshot.json"
        self.environment = {
            "TRAMO_NAMESPACE": NAMESPACE,
            "TRAMO_API_URL": self.api.url,
            "TRAMO_LISTEN_ADDRESS": f"{prefix}.250.1",
            "TRAMO_APP_ADDRESS": f"{prefix}.250.2",
            "TRAMO_INBOUND": "app=15100:8080/http,raw=15101:8081/tcp",
            "TRAMO_VIP_NETWORK": f"{prefix}.0.0/16",
            "TRAMO_FORWARD_PROXY": f"{prefix}.0.1:15001",
            "TRAMO_ADMIN": f"{prefix}.0.1:9901",
            "TRAMO_HOSTS_FILE": str(self.hosts),
            "TRAMO_CACHE_FILE": str(self.cache),
            "TRAMO_METRICS": "off",
            "TRAMO_POLL_SECONDS": str(POLL_SECONDS),
            "TRAMO_SERVICE_NAME": "web-svc",
            "TRAMO_CLUSTER_NAME": "main",
            **environment,
        }
        self._directory = directory
        self._vips = 1
        self.sidecar = self.start()

    def start(self) -> Sidecar:
        """Start a sidecar, the first or another one after it."""
        self.sidecar = Sidecar(self.environment, self._directory / "sidecar.log", self.group)
        return self.sidecar

    def backend(self, name: str, address: str | None = None, port: int = 0) -> Backend:
        """Start an endpoint."""
        found = Backend(name, address or f"{self.prefix}.240.1", port)
        self.backends.append(found)
        if port and found.address == self.environment["TRAMO_APP_ADDRESS"]:
            self.wait_open(port)
        return found

    def wait_open(self, app_port: int) -> None:
        """Wait until the sidecar has seen that the app listens on this port."""
        (ingress,) = [
            service["ingress_port"]
            for service in self.sidecar.page("/config")[1]["inbound"]
            if service["app_port"] == app_port
        ]
        until(lambda: self.is_open(ingress), 10, f"the ingress port {ingress}")

    def is_open(self, ingress_port: int) -> bool:
        """Whether callers can connect to this ingress port. The kernel is asked: a connection would be counted."""
        address = self.address(ingress_port)
        local = f"{socket.inet_aton(address.host)[::-1].hex().upper()}:{address.port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any((row[1], row[3]) == (local, _LISTEN) for row in rows)

    def refusing(self, name: str) -> dict[str, Any]:
        """An endpoint where nobody listens."""
        with socket.socket() as probe:
            probe.bind((f"{self.prefix}.240.2", 0))
            return endpoint(name, *probe.getsockname())

    def publish(
        self,
        name: str,
        *endpoints: Backend | dict[str, Any],
        protocol: str = "http",
        policy: dict[str, Any] | None = None,
        port: int = 80,
    ) -> Address:
        """Put a service into the namespace, wait until the sidecar routes by it, and return where it is reached."""
        known = self.api.services.get(name)
        if known is None:
            self._vips += 1
        vip = known["vip"] if known is not None else f"127.254.0.{self._vips}"
        revision = self.api.publish(
            {
                "name": name,
                "protocol": protocol,
                "vip": vip,
                "aliases": [{"dns_name": name, "port": port}, {"dns_name": f"{name}.{NAMESPACE}", "port": port}],
                "policy": policy or {},
                "endpoints": [item.record() if isinstance(item, Backend) else item for item in endpoints],
            }
        )
        until(lambda: self.sidecar.page("/clusters")[1]["revision"] >= revision, 10, f"revision {revision}")
        network = self.environment["TRAMO_VIP_NETWORK"].removesuffix(".0.0/16")
        return Address(vip.replace("127.254", network), port)

    def withdraw(self, name: str) -> None:
        """Take a service out of the namespace."""
        self.api.withdraw(name)

    def address(self, port: int) -> Address:
        """An ingress port of the sidecar."""
        return Address(self.environment["TRAMO_LISTEN_ADDRESS"], port)

    def close(self) -> None:
        """End everything."""
        self.sidecar.stop()
        for backend in self.backends:
            backend.close()
        self.api.close()


@dataclass(frozen=True)
class Address:
    """Where a service is reached."""

    host: str
    port: int

    def http(self) -> HTTPConnection:
        """A connection for plain requests."""
        return HTTPConnection(self.host, self.port, timeout=60)

    def socket(self) -> socket.socket:
        """A connection for bytes."""
        return socket.create_connection((self.host, self.port), timeout=60)

    def get(self, path: str = "/", method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        connection = self.http()
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def stage(directory: Path, **environment: str) -> Iterator[Stage]:
    """A stage with a ready sidecar on a network of its own."""
    with network() as prefix:
        found = Stage(prefix, directory, **environment)
        try:
            found.sidecar.wait_ready()
            yield found
        finally:
            found.close()


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly so many bytes. Raises when the other side ends before."""
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError(f"the connection ended after {data!r}")
        data += piece
    return data


def receive_all(connection: socket.socket) -> bytes:
    """All bytes up to the end."""
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    """Bytes up to and with this one mark, and no more."""
    data = b""
    while not data.endswith(end):
        data += receive(connection, 1)
    return data
