"""The large namespace as the API sends it: a whole document, deltas, and a server that answers with them."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registry.domain.offer import Alias
from registry.domain.rules import TaskRecord
from registry.domain.service import Declaration, ServiceRecord
from registry.domain.snapshot import endpoints_of, service_document
from tests.benchmarks.control import population
from tests.benchmarks.control.population import NAMESPACE
from tests.support.wire.answer_server import AnswerServer, Request, Response


class Documents:
    """Services and tasks of the namespace, and the documents of its revisions."""

    def __init__(self, tasks: Iterable[TaskRecord] | None = None) -> None:
        self.revision = 1
        self._tasks = {each.task_id: each for each in (population.tasks() if tasks is None else tasks)}
        self._by_service: dict[str, list[str]] = {}
        for each in self._tasks.values():
            self._by_service.setdefault(each.endpoints[0].service, []).append(each.task_id)
        self._revisions: dict[str, int] = {}
        self._services = {name: self._service(number, name) for number, name in enumerate(self._by_service, 2)}

    @staticmethod
    def _service(number: int, name: str) -> ServiceRecord:
        aliases = (Alias(name, 80), Alias(f"{name}.{NAMESPACE}", 80))
        return ServiceRecord(
            name=name,
            vip=f"127.254.{number >> 8}.{number & 255}",
            declarations=(Declaration("orders:7", "http", aliases),),
            holders=dict.fromkeys(aliases, name),
        )

    def names(self) -> Sequence[str]:
        """Return the services' names."""
        return list(self._services)

    def whole(self) -> bytes:
        """Return all of the present revision."""
        return self._document(self._services)

    def move(self, names: Iterable[str]) -> bytes:
        """Give one task of each of these services another address, and return the delta."""
        touched = list(names)
        self.revision += 1
        for name in touched:
            self._revisions[name] = self.revision
            task = self._by_service[name][0]
            address = f"10.{self.revision % 250}.9.9"
            self._tasks[task] = dataclasses.replace(self._tasks[task], address=address)
        return self._document(touched, since=self.revision - 1, removed=[])

    def add(self, name: str, like: str) -> bytes:
        """Add a service with an endpoint like one of another's, and return the delta."""
        self.revision += 1
        self._revisions[name] = self.revision
        first = self._tasks[self._by_service[like][0]]
        endpoint = dataclasses.replace(first.endpoints[0], service=name)
        task = dataclasses.replace(
            first, task_arn=f"{first.task_arn[:-8]}{zlib.crc32(name.encode()):08x}", endpoints=(endpoint,)
        )
        self._tasks[task.task_id] = task
        self._by_service[name] = [task.task_id]
        self._services[name] = self._service(len(self._services) + 2, name)
        return self._document([name], since=self.revision - 1, removed=[])

    def _document(self, names: Iterable[str], **more: Any) -> bytes:
        services = []
        for name in names:
            found = [endpoints_of(self._tasks[task])[name] for task in self._by_service[name]]
            services.append(service_document(self._services[name], found, self._revisions.get(name, 1)))
        head = {"schema": 1, "namespace": NAMESPACE, "revision": self.revision, "generated_at": "2026-11-23T12:00:00Z"}
        document = {**head, "services": services, **more}
        return json.dumps(document, separators=(",", ":")).encode()


class Shelf:
    """The API's route for snapshots, with documents that are ready to be sent. Metrics sent here are taken."""

    def __init__(self, revision: int, whole: bytes, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._revision = revision
        self._whole = gzip.compress(whole, 6)
        self._deltas: dict[str, bytes] = {}
        self._server = AnswerServer(self._answer)
        self.url = self._server.origin

    def _answer(self, request: Request) -> Response:
        if request.method == "POST":
            return Response(200, {"Content-Type": "application/x-amz-json-1.0"}, b"{}")
        fields = {
            "ETag": f'"{self._revision}"',
            "Tramo-Poll-Seconds": str(self._poll_seconds),
            "Content-Encoding": "gzip",
        }
        if request.fields.get("if-none-match") == fields["ETag"]:
            return Response(304, fields)
        since = parse_qs(urlsplit(request.target).query).get("since", [""])[0]
        return Response(200, fields, self._deltas.get(since, self._whole))

    def put(self, revision: int, delta: bytes | None, whole: bytes | None = None) -> None:
        """Answer with a new revision: by this delta to those who have the one before, by all of it to others."""
        self._deltas = {} if delta is None else {str(revision - 1): gzip.compress(delta, 6)}
        if whole is not None:
            self._whole = gzip.compress(whole, 6)
        self._revision = revision

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
