"""Endpoints of which nothing comes back when they are connected: what to look at in AWS.

Where nobody listens, the kernel refuses at once. Where a security group or a network ACL does not let a port in,
nothing comes back, and the connection times out; so it does where a task is gone with its address. What the rules are
only EC2 knows. It is not asked here: the registry knows neither the network interfaces of tasks nor their groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.client.api import ApiError, MeshApi

PAGE: Final = "docs/network.md#a-connection-that-times-out"
MOST_NAMED: Final = 3
"""Addresses of callers; each is a call of the API."""
_LOOK: Final = """\
$ aws ec2 describe-security-group-rules --filters Name=group-id,Values=$(
    aws ec2 describe-network-interfaces --output text \\
    --filters Name={field},Values={address} \\
    --query 'NetworkInterfaces[].Groups[].GroupId' | tr '\\t' ,)"""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Ready endpoints that time out, as (address, port), and the tasks for which they do."""

    endpoints: tuple[tuple[str, int], ...]
    tasks: tuple[str, ...]

    def text(self, sources: Sequence[str], in_aws: bool) -> str:
        """Return what is blocked and what the cause may be; `sources` are addresses of the callers."""
        (address, port), more = self.endpoints[0], len(self.endpoints) - 1
        to = f"{address}:{port}" + (f" and {more} more" if more else "")
        what = f"connections from {', '.join(sources) or 'its tasks'} to {to} time out"
        if not in_aws:
            return f"{what}; a packet filter drops them, or the task is gone"
        return (
            f"{what}; a security group or network ACL does not let TCP {port} in, or the task is gone: see {PAGE} and "
            f"the rules of {address}"
        )

    def command(self) -> str:
        """Return the command that shows the rules of the first endpoint's security groups."""
        address, _ = self.endpoints[0]
        field = "ipv6-addresses.ipv6-address" if ":" in address else "addresses.private-ip-address"
        return _LOOK.format(field=field, address=address)


def times_out(endpoint: Mapping[str, Any]) -> bool:
    """Return whether nothing came back from an endpoint when a sidecar last connected it."""
    # A sidecar of an earlier release does not say.
    return endpoint.get("connect_failure") == "timed out"


def blocked(clusters: Mapping[str, Mapping[str, Any]]) -> Blocked | None:
    """Return which endpoints time out for which tasks, None if none does."""
    found: set[tuple[str, int]] = set()
    tasks = set()
    for task, cluster in clusters.items():
        for each in cluster["endpoints"]:
            # One that is stopping may be gone already.
            if each["state"] == "ready" and times_out(each):
                found.add((each["address"], each["port"]))
                tasks.add(task)
    return Blocked(tuple(sorted(found)), tuple(sorted(tasks))) if found else None


def callers(api: MeshApi, namespace: str, tasks: Sequence[str]) -> list[str]:
    """Return addresses of tasks, of the first of them. Raises ApiError."""
    found = []
    for task in tasks[:MOST_NAMED]:
        try:
            address = api.task(namespace, task).get("address")
        except ApiError as error:
            if error.status != 404:  # it has ended meanwhile
                raise
            continue
        if address:
            found.append(str(address))
    return found
