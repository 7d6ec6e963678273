"""The label `tramo.service-connect`: ECS's own `serviceConnectConfiguration`, read strictly. Pure.

A mistake is a DefinitionError that says where it is and what to do. Unknown fields are left alone, but they
count for the label's size and depth (`bounds.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from registry.domain.bounds import (
    ALIASES_PER_SERVICE,
    LABEL_BYTES,
    LABEL_DEPTH,
    NAMESPACE_CHARACTERS,
    QUOTED_CHARACTERS,
    SERVICES_PER_TASK,
    shortened,
)
from registry.domain.containers import TcpPorts, entries, kind_of, labels
from registry.domain.names import fault_of
from registry.domain.offer import (
    APP_PROTOCOLS,
    DEFAULT_MESH,
    DNS_NAME_PATTERN,
    MESH_PATTERN,
    NAME_PATTERN,
    NAMESPACE_PATTERN,
    Alias,
    AppProtocol,
    DefinitionError,
    Offer,
    Timeouts,
)

CONFIGURATION_LABEL: Final = "tramo.service-connect"
FIRST_INGRESS_PORT: Final = 15100

_NAME_RULE = "use 1 to 64 of lower-case letters, digits, _ and -, not starting with -"
_DNS_NAME_RULE = "use 1 to 127 of lower-case letters, digits, _, - and ., not starting with -"
_MESH_RULE = "use the stack's parameter Mesh: 1 to 63 of letters, digits, _ and -, not starting with _ or -"
_NAMESPACE_RULE = (
    f"use the namespace's name (not its ARN): 1 to {NAMESPACE_CHARACTERS} of letters, digits, ., _ and -, "
    "not starting with . or -"
)


class LabelReader:
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
        self._text = labels(container)[CONFIGURATION_LABEL]
        self._sidecar = sidecar
        self._mappings = {
            mapping["name"]: (str(each.get("name")), mapping)
            for each in containers
            for mapping in entries(each, "portMappings")
            if isinstance(mapping.get("name"), str) and mapping["name"]
        }
        self._taken_ports = TcpPorts(each for each in containers if each is not sidecar)

    def _error(self, path: str, mistake: str, remedy: str) -> DefinitionError:
        return DefinitionError(
            self._definition, self._container, f"label {CONFIGURATION_LABEL} at {path}", mistake, remedy
        )

    def configuration(self) -> Mapping[str, Any]:
        """Return the label's JSON."""
        if not isinstance(self._text, str):
            mistake = f"{kind_of(self._text)} instead of a text"
            raise self._error("$", mistake, 'write the JSON as a string: "{\\"namespace\\": …}"')
        size = len(self._text.encode(errors="surrogatepass"))
        if size > LABEL_BYTES:
            raise self._error("$", f"it has {size} bytes", f"write at most {LABEL_BYTES}")
        # Before it is parsed: a parser that calls itself has a limit of its own, which depends on its caller.
        depth = _depth(self._text)
        if depth > LABEL_DEPTH:
            raise self._error("$", f"it is nested {depth} deep", f"nest objects and lists at most {LABEL_DEPTH} deep")
        try:
            value = json.loads(self._text)
        except (TypeError, ValueError) as error:
            raise self._error(
                "$", f"it is not JSON ({error})", "write ECS's serviceConnectConfiguration as JSON"
            ) from error
        return self._object(value, "$")

    def _object(self, value: Any, path: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(path, f"{kind_of(value)} instead of an object", "write {...}")
        return value

    def _list(self, value: Any, path: str, most: int) -> Sequence[Any]:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self._error(path, f"{kind_of(value)} instead of a list", "write [...]")
        if len(value) > most:
            raise self._error(path, f"it has {len(value)} entries", f"write at most {most}")
        return value

    def _name(self, value: Any, path: str, pattern: re.Pattern[str], rule: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._error(path, f"{_quoted(value)} is not allowed", rule)
        return value

    def _integer(self, value: Any, path: str, lowest: int, highest: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self._error(path, f"{_quoted(value)} is not allowed", f"write a number from {lowest} to {highest}")
        return value

    def flag(self, configuration: Mapping[str, Any], field: str, absent: bool) -> bool:
        """Return a boolean of the configuration; `absent` is its value when it is not there."""
        value = configuration.get(field, absent)
        if not isinstance(value, bool):
            raise self._error(f"$.{field}", f"{_quoted(value)} is not allowed", "write true or false, without quotes")
        return value

    def mesh(self, configuration: Mapping[str, Any]) -> str:
        """Return the mesh that the tasks belong to."""
        return self._name(configuration.get("mesh", DEFAULT_MESH), "$.mesh", MESH_PATTERN, _MESH_RULE)

    def namespace(self, configuration: Mapping[str, Any]) -> str:
        """Return the namespace that the tasks join."""
        return self._name(configuration.get("namespace"), "$.namespace", NAMESPACE_PATTERN, _NAMESPACE_RULE)

    def offers(self, configuration: Mapping[str, Any], namespace: str, network_mode: str) -> tuple[Offer, ...]:
        """Return the services that the tasks serve."""
        services = self._list(configuration.get("services"), "$.services", SERVICES_PER_TASK)
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
            known = shortened(", ".join(sorted(self._mappings)), QUOTED_CHARACTERS) or "none is named"
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

    def _protocol(self, mapping: Mapping[str, Any], port_name: str) -> AppProtocol:
        if mapping.get("protocol", "tcp") != "tcp":
            raise self._error(
                f"portMappings[{port_name}].protocol",
                f"{json.dumps(mapping['protocol'])} cannot be proxied",
                "offer TCP ports only",
            )
        name = mapping.get("appProtocol") or "tcp"
        protocol = APP_PROTOCOLS.get(name) if isinstance(name, str) else None
        if protocol is None:
            raise self._error(
                f"portMappings[{port_name}].appProtocol",
                f"{json.dumps(name)} is not known",
                "use http, http2 or grpc, or leave it out for TCP",
            )
        return protocol

    def _published_port(self, service: Mapping[str, Any], path: str, index: int, container_port: int) -> int:
        override = service.get("ingressPortOverride")
        if override is not None:
            override = self._integer(override, f"{path}.ingressPortOverride", 1, 65535)
        if self._sidecar is None:
            return container_port
        port: int = override if override is not None else FIRST_INGRESS_PORT + index
        # Not those in a range: its container may well listen on others, and then the task works (`advice.py`).
        taken_by = self._taken_ports.single(port)
        if taken_by is not None:
            raise self._error(
                f"{path}.ingressPortOverride",
                f"the sidecar cannot listen on port {port}, container {taken_by} has it",
                "choose a port that no container maps",
            )
        return port

    def _aliases(
        self, service: Mapping[str, Any], path: str, name: str, namespace: str, container_port: int
    ) -> tuple[Alias, ...]:
        values = self._list(service.get("clientAliases"), f"{path}.clientAliases", ALIASES_PER_SERVICE)
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
                # Not the name below the namespace: a namespace need not be a DNS name.
                fault = fault_of(checked) if checked == names[0] else None
                if fault is not None:
                    raise self._error(f"{where}.dnsName", f"{_quoted(checked)} {fault}", "choose another dnsName")
                if Alias(checked, port) not in aliases:
                    aliases.append(Alias(checked, port))
        if len(aliases) > ALIASES_PER_SERVICE:
            # One without dnsName is two: the service's name, alone and with the namespace.
            raise self._error(
                f"{path}.clientAliases",
                f"they make {len(aliases)} pairs of name and port",
                f"keep to {ALIASES_PER_SERVICE}",
            )
        return tuple(aliases)

    def _timeouts(self, service: Mapping[str, Any], path: str) -> Timeouts:
        if service.get("timeout") is None:
            return Timeouts()
        timeout = self._object(service["timeout"], f"{path}.timeout")

        def seconds(field: str) -> int | None:
            value = timeout.get(field)
            return None if value is None else self._integer(value, f"{path}.timeout.{field}", 0, 86400)

        return Timeouts(seconds("perRequestTimeoutSeconds"), seconds("idleTimeoutSeconds"))


def _quoted(value: Any) -> str:
    return shortened(json.dumps(value), QUOTED_CHARACTERS)


def _depth(text: str) -> int:
    """Return how deep the objects and lists of a JSON text are nested."""
    depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif in_string:
            escaped = character == "\\"
            in_string = character != '"'
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
