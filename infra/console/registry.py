"""What the console asks of the mesh's API: which services there are, and all that the registry knows of one.

The console works without it, with metrics alone: where the API is not known or does not answer, the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from infra.client.api import ApiError
from infra.console.live import TAP_SECONDS, Live
from infra.console.overview import Registered

MAX_SERVICES: Final = 5_000
"""Services of all namespaces that are listed; a page of the list is a call."""
MAX_NAMESPACES: Final = 50
MAX_FINDINGS: Final = 200
"""More of them nobody reads on a page; `tramo check` lists all."""

Json = dict[str, Any]


class Api(Protocol):
    """What of the API's client is needed."""

    def namespaces(self) -> list[str]: ...  # noqa: D102
    def services(self, namespace: str) -> Any: ...  # noqa: D102
    def service(self, namespace: str, name: str) -> Json: ...  # noqa: D102
    def findings(self, namespace: str | None) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Listing:
    """All services, what is wrong with them, and why not all of it is here."""

    services: list[Registered] = field(default_factory=list)
    findings: list[Json] = field(default_factory=list)
    error: str = ""


class RegistryReader:
    """Reads the registry; an error is a text for the page."""

    def __init__(self, api: Api | None, absent: str = "", tap_seconds: int = TAP_SECONDS) -> None:
        """`absent` says why there is no API."""
        self._api = api
        self._absent = absent
        self.live = Live(api, absent, tap_seconds)

    def listing(self) -> Listing:
        """Return all services and findings."""
        if self._api is None:
            return Listing(error=self._absent)
        services: list[Registered] = []
        findings: list[Json] = []
        try:
            for namespace in self._api.namespaces()[:MAX_NAMESPACES]:
                for each in islice(self._api.services(namespace), MAX_SERVICES - len(services)):
                    states = each["endpoints"]
                    ready, all_states = states.get("ready", 0), sum(states.values())
                    services.append(Registered(namespace, each["name"], each["protocol"], ready, all_states))
                findings += islice(self._api.findings(namespace), MAX_FINDINGS - len(findings))
            findings += islice(self._api.findings(None), MAX_FINDINGS - len(findings))
        except ApiError as error:
            return Listing(services, findings, str(error))
        return Listing(services, findings)

    def service(self, name: str, namespaces: list[str]) -> tuple[list[Json], str]:
        """Return the documents of the services of this name in these namespaces, each with its `namespace`."""
        if self._api is None:
            return [], self._absent
        found: list[Json] = []
        for namespace in namespaces:
            try:
                found.append({"namespace": namespace, **self._api.service(namespace, name)})
            except ApiError as error:
                if error.status != 404:
                    return found, str(error)
        return found, ""


def deployments(documents: list[Json], begin: float, end: float) -> list[Json]:
    """Return the steps of deployments in a time, oldest first, as marks for plots."""
    marks = []
    for document in documents:
        for event in document["history"]:
            at = datetime.fromisoformat(event["at"]).timestamp()
            if event["kind"] == "ECS Deployment State Change" and begin <= at <= end:
                text = event["event"].removeprefix("SERVICE_DEPLOYMENT_").replace("_", " ").lower()
                marks.append({"at": at, "text": f"deployment {text}", "level": event["level"]})
    return sorted(marks, key=lambda mark: float(mark["at"]))
