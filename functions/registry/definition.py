"""What a task definition offers to the mesh. Pure.

Rules:
1. A task definition is immutable, so what is read here holds for every task of the revision.
2. The docker label `tramo.service-connect` on any one container holds the JSON of ECS's own
   `serviceConnectConfiguration`. Without it the task definition is not ours and `parse` returns None.
3. The docker label `tramo.sidecar: "true"` marks the container that is our proxy. With one, a service is
   published on the sidecar's ingress port (`ingressPortOverride`, else 15100 plus the index of the service in
   the list), without one on the container's port.
4. Names obey ECS's rules for Service Connect
   (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ServiceConnectService.html).
5. A mistake is a DefinitionError that says where it is and what to do. Unknown fields are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CONFIGURATION_LABEL: Final = "tramo.service-connect"
SIDECAR_LABEL: Final = "tramo.sidecar"
FIRST_INGRESS_PORT: Final = 15100
PROTOCOLS: Final = ("http", "http2", "grpc", "tcp")

# Service Connect sends traffic after at most 8 minutes of UNKNOWN health
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts.html).
LONGEST_HEALTH_WAIT_SECONDS: Final = 480.0

NAMESPACE_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,1023}")
NAME_PATTERN: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,63}")
DNS_NAME_PATTERN: Final = re.compile(r"[a-z0-9_.][a-z0-9_.-]{0,126}")

_NAME_RULE = "use 1 to 64 of lower-case letters, digits, _ and -, not starting with -"
_DNS_NAME_RULE = "use 1 to 127 of lower-case letters, digits, _, - and ., not starting with -"
_NAMESPACE_RULE = "use the namespace's name (not its ARN): letters, digits, ., _ and -"


class DefinitionError(Exception):
    """A task definition that means to join the mesh has a mistake.

    Attributes: task_definition (family:revision), container (None when it concerns them all), path (JSON path
    inside the label or the task definition), mistake, remedy.
    """

    def __init__(self, task_definition: str, container: str | None, path: str, mistake: str, remedy: str) -> None:
        self.task_definition = task_definition
        self.container = container
        self.path = path
        self.mistake = mistake
        self.remedy = remedy
        where = f"task definition {task_definition}" + (f", container {container}" if container else "")
        super().__init__(f"{where}, {path}: {mistake}; {remedy}")


@dataclass(frozen=True, slots=True)
class Alias:
    """A name and port under which callers reach a service."""

    dns_name: str
    port: int


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The label's time-outs in seconds; None where it says nothing, 0 where it turns one off."""

    request_seconds: int | None = None
    idle_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One service that every task of the definition serves.

    `port` is the published port and `container` the container that listens on it: the sidecar if there is
    one. In bridge mode callers use the host's port for it, which stands in the task's network bindings.
    `container_port` is the application's.
    """

    service: str
    port_name: str
    protocol: str
    container: str
    port: int
    container_port: int
    aliases: tuple[Alias, ...]
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class Definition:
    """What one revision offers. `name` is family:revision.

    `health_wait_seconds` is None when no essential container has a health check, else how long UNKNOWN health
    keeps a running task from traffic.
    """

    arn: str
    name: str
    namespace: str
    network_mode: str
    has_sidecar: bool
    offers: tuple[Offer, ...]
    health_wait_seconds: float | None


def short_name(task_definition_arn: str) -> str:
    """Return family:revision of a task definition's ARN."""
    return task_definition_arn.rpartition("/")[2]


def parse(task_definition: Mapping[str, Any]) -> Definition | None:
    """Return what DescribeTaskDefinition's `taskDefinition` offers, None when it has no label of ours.

    Raises DefinitionError for a label with a mistake.
    """
    arn = str(task_definition.get("taskDefinitionArn", ""))
    name = short_name(arn)
    containers: Sequence[Mapping[str, Any]] = task_definition.get("containerDefinitions") or ()
    labelled = [c for c in containers if CONFIGURATION_LABEL in (c.get("dockerLabels") or {})]
    if not labelled:
        return None
    if len(labelled) > 1:
        raise DefinitionError(
            name,
            None,
            f"label {CONFIGURATION_LABEL}",
            "it stands on " + " and ".join(str(c.get("name")) for c in labelled),
            "keep it on one container only",
        )
    sidecars = [c for c in containers if _is_sidecar(name, c)]
    if len(sidecars) > 1:
        raise DefinitionError(
            name,
            None,
            f"label {SIDECAR_LABEL}",
            "more than one container is marked as the sidecar: " + ", ".join(str(c["name"]) for c in sidecars),
            "mark one container only",
        )
    reader = _LabelReader(name, labelled[0], containers, sidecars[0] if sidecars else None)
    configuration = reader.configuration()
    if configuration.get("enabled") is False:
        return None
    namespace = reader.namespace(configuration)
    # ECS's own default is bridge for tasks on EC2; Fargate demands that awsvpc is written out.
    network_mode = str(task_definition.get("networkMode") or "bridge")
    return Definition(
        arn=arn,
        name=name,
        namespace=namespace,
        network_mode=network_mode,
        has_sidecar=bool(sidecars),
        offers=reader.offers(configuration, namespace, network_mode),
        health_wait_seconds=_health_wait(containers),
    )


def _is_sidecar(name: str, container: Mapping[str, Any]) -> bool:
    value = (container.get("dockerLabels") or {}).get(SIDECAR_LABEL)
    if value in (None, "false"):
        return False
    if value == "true":
        return True
    raise DefinitionError(
        name,
        container.get("name"),
        f"label {SIDECAR_LABEL}",
        f"{value!r} is neither true nor false",
        'write "true" on the container that runs the sidecar and leave it out elsewhere',
    )


def _health_wait(containers: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the longest time the essential containers' health checks may need, capped at 8 minutes."""
    waits = [
        float(check.get("startPeriod") or 0)
        + float(check.get("retries") or 3) * (float(check.get("interval") or 30) + float(check.get("timeout") or 5))
        for container in containers
        if container.get("essential", True) and (check := container.get("healthCheck"))
    ]
    return min(max(waits), LONGEST_HEALTH_WAIT_SECONDS) if waits else None


class _LabelReader:
    """Reads the label of one task definition; knows where it is, for the errors."""

    def __init__(
        self,
        definition: str,
        container: Mapping[str, Any],
        containers: Sequence[Mapping[str, Any]],
        sidecar: Mapping[str, Any] | None,
    ) -> None:
        self._definition = definition
        self._container = str(container.get("name"))
        self._text = container["dockerLabels"][CONFIGURATION_LABEL]
        self._sidecar = sidecar
        self._mappings = {
            mapping["name"]: (str(each.get("name")), mapping)
            for each in containers
            for mapping in each.get("portMappings") or ()
            if mapping.get("name")
        }
        self._taken_ports = {
            mapping.get("containerPort"): str(each.get("name"))
            for each in containers
            if each is not sidecar
            for mapping in each.get("portMappings") or ()
        }

    def _error(self, path: str, mistake: str, remedy: str) -> DefinitionError:
        return DefinitionError(
            self._definition, self._container, f"label {CONFIGURATION_LABEL} at {path}", mistake, remedy
        )

    def configuration(self) -> Mapping[str, Any]:
        try:
            value = json.loads(self._text)
        except (TypeError, ValueError) as error:
            raise self._error(
                "$", f"it is not JSON ({error})", "write ECS's serviceConnectConfiguration as JSON"
            ) from error
        return self._object(value, "$")

    def _object(self, value: Any, path: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(path, f"{_kind(value)} instead of an object", "write {...}")
        return value

    def _list(self, value: Any, path: str) -> Sequence[Any]:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._error(path, f"{_kind(value)} instead of a list", "write [...]")
        return value

    def _name(self, value: Any, path: str, pattern: re.Pattern[str], rule: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._error(path, f"{json.dumps(value)} is not allowed", rule)
        return value

    def _integer(self, value: Any, path: str, lowest: int, highest: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self._error(path, f"{json.dumps(value)} is not allowed", f"write a number from {lowest} to {highest}")
        return value

    def namespace(self, configuration: Mapping[str, Any]) -> str:
        return self._name(configuration.get("namespace"), "$.namespace", NAMESPACE_PATTERN, _NAMESPACE_RULE)

    def offers(self, configuration: Mapping[str, Any], namespace: str, network_mode: str) -> tuple[Offer, ...]:
        services = self._list(configuration.get("services"), "$.services")
        if services and network_mode == "none":
            raise self._error("$.services", "networkMode none has no ports", "use awsvpc, bridge or host")
        offers: list[Offer] = []
        for index, value in enumerate(services):
            path = f"$.services[{index}]"
            offer = self._offer(self._object(value, path), path, index, namespace)
            if any(offer.service == other.service for other in offers):
                raise self._error(
                    f"{path}.discoveryName",
                    f'"{offer.service}" is offered twice',
                    "give each service of a task its own discoveryName",
                )
            if self._sidecar is not None and any(offer.port == other.port for other in offers):
                raise self._error(
                    f"{path}.ingressPortOverride",
                    f"port {offer.port} is another service's ingress port",
                    "give each service its own ingressPortOverride, or none",
                )
            offers.append(offer)
        return tuple(offers)

    def _offer(self, service: Mapping[str, Any], path: str, index: int, namespace: str) -> Offer:
        port_name = self._name(service.get("portName"), f"{path}.portName", NAME_PATTERN, _NAME_RULE)
        if port_name not in self._mappings:
            known = ", ".join(sorted(self._mappings)) or "none is named"
            raise self._error(
                f"{path}.portName",
                f'no port mapping is named "{port_name}" (there are: {known})',
                "name the port mapping, or correct portName",
            )
        container, mapping = self._mappings[port_name]
        if service.get("tls") is not None:
            # Taking the label and sending plain text would be worse than leaving the service out.
            raise self._error(f"{path}.tls", "TLS between tasks is not supported", "remove the tls block")
        container_port = self._integer(
            mapping.get("containerPort"), f"portMappings[{port_name}].containerPort", 1, 65535
        )
        discovery_name = service.get("discoveryName")
        name = self._name(
            port_name if discovery_name is None else discovery_name,
            f"{path}.discoveryName",
            NAME_PATTERN,
            _NAME_RULE,
        )
        return Offer(
            service=name,
            port_name=port_name,
            protocol=self._protocol(mapping, port_name),
            container=container if self._sidecar is None else str(self._sidecar.get("name")),
            port=self._published_port(service, path, index, container_port),
            container_port=container_port,
            aliases=self._aliases(service, path, name, namespace, container_port),
            timeouts=self._timeouts(service, path),
        )

    def _protocol(self, mapping: Mapping[str, Any], port_name: str) -> str:
        if mapping.get("protocol", "tcp") != "tcp":
            raise self._error(
                f"portMappings[{port_name}].protocol",
                f"{json.dumps(mapping['protocol'])} cannot be proxied",
                "offer TCP ports only",
            )
        protocol = mapping.get("appProtocol") or "tcp"
        if protocol not in PROTOCOLS:
            raise self._error(
                f"portMappings[{port_name}].appProtocol",
                f"{json.dumps(protocol)} is not known",
                "use http, http2 or grpc, or leave it out for TCP",
            )
        return str(protocol)

    def _published_port(self, service: Mapping[str, Any], path: str, index: int, container_port: int) -> int:
        override = service.get("ingressPortOverride")
        if override is not None:
            override = self._integer(override, f"{path}.ingressPortOverride", 1, 65535)
        if self._sidecar is None:
            return container_port
        port: int = override if override is not None else FIRST_INGRESS_PORT + index
        if port in self._taken_ports:
            raise self._error(
                f"{path}.ingressPortOverride",
                f"the sidecar cannot listen on port {port}, container {self._taken_ports[port]} has it",
                "choose a port that no container maps",
            )
        return port

    def _aliases(
        self, service: Mapping[str, Any], path: str, name: str, namespace: str, container_port: int
    ) -> tuple[Alias, ...]:
        values = self._list(service.get("clientAliases"), f"{path}.clientAliases")
        aliases: list[Alias] = []
        for number, value in enumerate(values or ({"port": container_port},)):
            where = f"{path}.clientAliases[{number}]"
            alias = self._object(value, where)
            port = self._integer(alias.get("port"), f"{where}.port", 1, 65535)
            if alias.get("dnsName") is None:
                names = [name, f"{name}.{namespace}".lower()]
            else:
                names = [alias["dnsName"]]
            for dns_name in names:
                checked = self._name(dns_name, f"{where}.dnsName", DNS_NAME_PATTERN, _DNS_NAME_RULE)
                if Alias(checked, port) not in aliases:
                    aliases.append(Alias(checked, port))
        return tuple(aliases)

    def _timeouts(self, service: Mapping[str, Any], path: str) -> Timeouts:
        if service.get("timeout") is None:
            return Timeouts()
        timeout = self._object(service["timeout"], f"{path}.timeout")

        def seconds(field: str) -> int | None:
            value = timeout.get(field)
            return None if value is None else self._integer(value, f"{path}.timeout.{field}", 0, 86400)

        return Timeouts(seconds("perRequestTimeoutSeconds"), seconds("idleTimeoutSeconds"))


def _kind(value: Any) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "null" if value is None else "an object")
