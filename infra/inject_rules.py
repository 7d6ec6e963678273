"""What `infra.inject` refuses and warns about: what ECS does not register, and what app and sidecar cannot share.

Rules:
- A task has one network namespace. A port has one listener there, unless both listen on addresses of their own.
- The sidecar listens on all addresses for traffic of other tasks (the ingress ports), and on 127.0.0.1 for its admin
  pages and the forward proxy. In listen mode it listens on an address per service that it calls, on the alias's port.
- An app is taken to listen on all addresses, on the TCP ports of its `portMappings`.
- What ECS refuses is `infra.local.api_model` (names and types) and `infra.local.ecs_rules` (the rest).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from infra.local import api_model, ecs_rules
from registry.domain.advice import own_ports
from registry.domain.containers import TcpPorts, labels
from registry.domain.definition import GATE_LABEL, SIDECAR_LABEL, sidecar_of
from registry.domain.offer import Offer
from registry.domain.unknown_keys import unknown_keys

REDIRECT_PORT: Final = 15002
MOST_CONTAINERS: Final = 10  # of a task definition: a quota of ECS
MOST_MISTAKES: Final = 8  # said at once
_LISTENERS: Final = {
    "TRAMO_ADMIN": "the sidecar's admin pages",
    "TRAMO_FORWARD_PROXY": "the sidecar's forward proxy",
    "TRAMO_REDIRECT": "the sidecar's listener for redirected calls",
}
"""What listens at the address that a variable of the sidecar has."""
_USUAL_ALIAS_PORT: Final = 80
_RANGE: Final = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")

Container = dict[str, Any]
Json = Mapping[str, Any]


class InjectError(Exception):
    """The task definition cannot be finished."""


def is_marked(container: Json, label: str) -> bool:
    """Say whether a container has a label of ours."""
    return labels(container).get(label) == "true"


def apps(containers: Sequence[Container]) -> Iterator[Container]:
    """Yield the containers that are the user's own."""
    for each in containers:
        if not is_marked(each, SIDECAR_LABEL) and not is_marked(each, GATE_LABEL):
            yield each


def variables(container: Json) -> dict[str, str]:
    """Return the environment of a container."""
    return {each["name"]: each.get("value", "") for each in container.get("environment") or () if "name" in each}


def check_given(task: Json) -> list[Container]:
    """Return the containers of a task definition into which a sidecar fits. Raises InjectError."""
    containers = task.get("containerDefinitions")
    if not isinstance(containers, list) or not all(isinstance(each, dict) and each.get("name") for each in containers):
        raise InjectError("containerDefinitions is not a list of containers with names; is this a task definition?")
    if not containers:
        raise InjectError("containerDefinitions is empty: there is no app to put a sidecar beside")
    _refuse(api_model.misfits("RegisterTaskDefinition", task))
    names = [each["name"] for each in containers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InjectError(f"two containers are named {twice[0]}; give each its own name")
    if task.get("networkMode") != "awsvpc":
        raise InjectError(
            f"networkMode is {task.get('networkMode', 'not set')}; write awsvpc: app and sidecar share one network"
        )
    system = task.get("runtimePlatform", {}).get("operatingSystemFamily", "LINUX")
    if system.upper().startswith("WINDOWS"):
        raise InjectError(f"runtimePlatform.operatingSystemFamily is {system}; the sidecar runs on Linux only")
    return containers


def check_proxy(task: Json, sidecar: Json) -> None:
    """Refuse that ECS redirects calls to another container than the sidecar. Raises InjectError."""
    owner = task.get("proxyConfiguration", {}).get("containerName", sidecar["name"])
    if owner != sidecar["name"]:
        raise InjectError(
            f"proxyConfiguration belongs to container {owner}: it would redirect the sidecar's own calls into that "
            "proxy; remove it and the container first (docs/migrate.md)"
        )


def check_ports(offers: Sequence[Offer], containers: Sequence[Container], sidecar: Json, redirect: bool) -> None:
    """Refuse two listeners on one port. Raises InjectError."""
    own = _own_ports(sidecar, redirect)
    _check_ranges(containers)
    taken = TcpPorts(apps(containers))
    for port, what in own.items():
        if app := taken.holder(port):
            raise InjectError(
                f"container {app}: port {port} in portMappings is that of {what}, and a task's network "
                "namespace has one listener on a port; let the app listen on another port"
            )
    aliases = {alias.port: alias.dns_name for offer in offers for alias in offer.aliases}
    for offer in offers:
        if clash := _ingress_clash(offer.port, own, taken, {} if redirect else aliases):
            raise InjectError(
                f"service {offer.service}: the ingress port {offer.port} is {clash}; write another port into "
                "ingressPortOverride, or leave it out"
            )
        for alias in offer.aliases:
            app = taken.holder(alias.port)
            if app and not redirect:
                free = next(port for port in (_USUAL_ALIAS_PORT, *range(8080, 65536)) if not taken.holder(port))
                raise InjectError(
                    f"service {offer.service}: the alias {alias.dns_name}:{alias.port} is on the port of container "
                    f"{app}, and a task's network namespace has one listener on a port; write another "
                    f"port into clientAliases, such as {free}, or use --redirect"
                )


def _ingress_clash(port: int, own: Mapping[int, str], taken: TcpPorts, aliases: Mapping[int, str]) -> str | None:
    if port in own:
        return f"that of {own[port]}"
    if app := taken.holder(port):
        return f"a port of container {app}"
    if port in aliases:
        return f"that of the alias {aliases[port]}:{port}, on which the sidecar listens for calls"
    if port == _USUAL_ALIAS_PORT and aliases:
        return "the usual port of aliases, on which the sidecar listens for calls of every service"
    return None


def _own_ports(sidecar: Json, redirect: bool) -> dict[int, str]:
    """Return the ports on which the sidecar listens whatever is offered, and what listens there."""
    given = variables(sidecar) | {"TRAMO_REDIRECT": f"127.0.0.1:{REDIRECT_PORT}" if redirect else "off"}
    return {port: _LISTENERS[variable] for port, variable in own_ports(given).items()}


def _check_ranges(containers: Sequence[Container]) -> None:
    for container in containers:
        for mapping in container.get("portMappings") or ():
            found = mapping.get("containerPortRange")
            is_used = found is not None and "containerPort" not in mapping and mapping.get("protocol", "tcp") == "tcp"
            if is_used and not _RANGE.fullmatch(found):
                raise InjectError(
                    f"container {container['name']}: containerPortRange is {found!r}; write the first and the last "
                    "port, such as 5000-5010"
                )


def check_finished(task: Json) -> None:
    """Refuse what ECS would not register. Raises InjectError."""
    containers: Sequence[Container] = task["containerDefinitions"]
    if len(containers) > MOST_CONTAINERS:
        raise InjectError(
            f"with sidecar and gate the task has {len(containers)} containers, and ECS takes {MOST_CONTAINERS}; "
            f"remove {len(containers) - MOST_CONTAINERS}"
        )
    _check_size(task, containers)
    _refuse(ecs_rules.task_definition(task))


def _check_size(task: Json, containers: Sequence[Container]) -> None:
    """ECS refuses containers that ask for more than the task has."""
    for field, unit, notation in (("cpu", "CPU units", "vcpu"), ("memory", "MiB", "gb")):
        try:
            limit = ecs_rules.amount(task.get(field), notation)
        except ValueError as error:
            raise InjectError(f"{error}; write {unit} as a number") from error
        # What is reserved counts where it is said, else the limit.
        sizes = {each["name"]: each.get(f"{field}Reservation") or each.get(field) or 0 for each in containers}
        if limit is not None and sum(sizes.values()) > limit:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InjectError(
                f"{field} of the task is {limit} {unit}, and its containers ask for {sum(sizes.values())} ({listed}); "
                f"raise the task's {field} or lower a container's"
            )


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        more = len(mistakes) - MOST_MISTAKES
        listed = "; ".join(mistakes[:MOST_MISTAKES]) + (f"; and {more} more" if more > 0 else "")
        raise InjectError(f"ECS would refuse it: {listed}")


def warnings(task: Json) -> list[str]:
    """Return what of a finished task definition does nothing, or not what is meant."""
    return [
        *(str(each) for each in unknown_keys(task)),
        *api_model.unknown("RegisterTaskDefinition", task),
        *_held_port(task),
    ]


def _held_port(task: Json) -> Iterator[str]:
    """Look for an app on the usual port of aliases: the task may call services that have theirs there."""
    if "TRAMO_REDIRECT" in variables(sidecar_of(task) or {}):
        return
    for each in apps(task["containerDefinitions"]):
        if TcpPorts([each]).holder(_USUAL_ALIAS_PORT):
            yield (
                f"container {each['name']} has port {_USUAL_ALIAS_PORT}, on which the sidecar listens for calls of "
                "services with an alias there, so the app cannot listen on all addresses; use --redirect, or let the "
                "app listen on another port"
            )
