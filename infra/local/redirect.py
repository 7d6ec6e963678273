"""The rules that ECS makes of a task definition's `proxyConfiguration`, as input of `iptables-restore`.

They are those of ECS's CNI plugin for type APPMESH, in its order, in the nat table of the task's network namespace:

1. What the containers of the task connect to elsewhere by TCP goes to ProxyEgressPort, except what IgnoredUID or
   IgnoredGID sends, what goes to EgressIgnoredPorts, and what goes to EgressIgnoredIPs. The ECS agent adds the task
   metadata endpoint and the instance metadata service to these.
2. What comes from elsewhere to AppPorts goes to ProxyIngressPort.
3. The plugin lists ports for a match of iptables that takes 15 of them, and ignores the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from infra.local.definition import ProxyConfiguration

_METADATA: Final = ("169.254.170.2", "169.254.169.254")
_MULTIPORT: Final = 15


def rules(proxy: ProxyConfiguration) -> str:
    """Return the nat table with the rules of the proxy."""
    return "\n".join(("*nat", *_ingress(proxy), *_egress(proxy), "COMMIT", ""))


def _ingress(proxy: ProxyConfiguration) -> Iterator[str]:
    if proxy.ingress_port is None or not proxy.app_ports:
        return
    yield ":APPMESH_INGRESS - [0:0]"
    yield f"-A APPMESH_INGRESS {_to_ports(proxy.app_ports)} -j REDIRECT --to-ports {proxy.ingress_port}"
    yield "-A PREROUTING -p tcp -m addrtype ! --src-type LOCAL -j APPMESH_INGRESS"


def _egress(proxy: ProxyConfiguration) -> Iterator[str]:
    yield ":APPMESH_EGRESS - [0:0]"
    if proxy.ignored_uid is not None:
        yield f"-A APPMESH_EGRESS -m owner --uid-owner {proxy.ignored_uid} -j RETURN"
    if proxy.ignored_gid is not None:
        yield f"-A APPMESH_EGRESS -m owner --gid-owner {proxy.ignored_gid} -j RETURN"
    if proxy.ignored_ports:
        yield f"-A APPMESH_EGRESS {_to_ports(proxy.ignored_ports)} -j RETURN"
    for network in (*proxy.ignored_networks, *_METADATA):
        yield f"-A APPMESH_EGRESS -p tcp -d {network} -j RETURN"
    yield f"-A APPMESH_EGRESS -p tcp -j REDIRECT --to-ports {proxy.egress_port}"
    yield "-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j APPMESH_EGRESS"


def _to_ports(ports: tuple[int, ...]) -> str:
    return f"-p tcp -m multiport --dports {','.join(map(str, ports[:_MULTIPORT]))}"
