"""What the sidecar finds wrong in its own task: one line for each kind of mistake, with what to do about it.

Rules:
- A finding is what is so now. It goes by itself when its cause goes, and an `error` means that something does not work.
- `where` names the thing that must be changed, `what` the mistake, `remedy` the change.
- Texts and their number have bounds, because they travel in the health report.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

ERROR: Final = "error"
WARNING: Final = "warning"
MOST_FINDINGS: Final = 16
LONGEST_WHERE: Final = 120
LONGEST_TEXT: Final = 240
_MOST_NAMES: Final = 3
"""Names that a text lists before it says how many more there are."""


class Kind(NamedTuple):
    """A kind of finding; the documentation is generated from it."""

    code: str
    level: str
    meaning: str
    remedy: str


UNKNOWN_VARIABLE: Final = Kind(
    "TRM0301",
    ERROR,
    "a variable that begins with TRAMO_ and that no sidecar knows; what it should set is not set",
    "Correct its name; docs/configuration.md has all of them.",
)
INBOUND_MISMATCH: Final = Kind(
    "TRM0302",
    ERROR,
    "TRAMO_INBOUND does not have the services and ingress ports of the label",
    "`tramo inject` writes TRAMO_INBOUND from the label and portMappings.",
)
APP_REFUSES: Final = Kind(
    "TRM0303",
    ERROR,
    "nothing listens on the app's port",
    "See the app's log, and check containerPort: it must be the port that the app listens on.",
)
NOT_BOUND: Final = Kind(
    "TRM0304",
    ERROR,
    "a service's address cannot be listened on; its names are not in the hosts file",
    "Give the alias a port that no app of the task listens on, such as 80, or run `tramo inject --redirect`.",
)
HOSTS_NOT_WRITTEN: Final = Kind(
    "TRM0305",
    ERROR,
    "the hosts file cannot be written, so names are not known to the app",
    'Run the sidecar with "user": "0" and without readonlyRootFilesystem; or find names in another way (docs/names.md) '
    "and set TRAMO_HOSTS_FILE=off.",
)
SERVICE_CONNECT: Final = Kind(
    "TRM0306",
    WARNING,
    "Service Connect has names in the task's hosts file",
    "Turn Service Connect off for this ECS service, or keep the names apart.",
)
NO_REDIRECT: Final = Kind(
    "TRM0307",
    ERROR,
    "TRAMO_REDIRECT is set, and calls of services' addresses do not arrive",
    "Set proxyConfiguration in the task definition as `tramo inject --redirect` does; it works in awsvpc mode only.",
)
NAMESPACE_MISMATCH: Final = Kind(
    "TRM0308",
    ERROR,
    "TRAMO_NAMESPACE is not the label's namespace",
    "Leave TRAMO_NAMESPACE out: the label says it.",
)
FEED_NOT_READ: Final = Kind(
    "TRM0309",
    WARNING,
    "TRAMO_FEED_TABLE is set, and the feed cannot be read; the API is asked instead",
    "Attach the stack's SidecarPolicyArn to the task role, set TRAMO_FEED_TABLE to FeedTableName, and give the VPC a "
    "gateway endpoint for DynamoDB and one for S3.",
)
UNKNOWN_KEY: Final = Kind(
    "TRM0310",
    WARNING,
    "a label tramo.… or a field of the label tramo.service-connect that nobody knows; it does nothing",
    "Correct its name, or remove it.",
)
UNREADABLE: Final = Kind(
    "TRM0311",
    ERROR,
    "a part of a service in the snapshot cannot be read; everything else of the snapshot is used",
    "Bring sidecar and control plane to the same version; a service that cannot be read stays as it was known.",
)
OTHER_KIND: Final = Kind(
    "TRM0312",
    WARNING,
    "endpoints that speak TCP where their service speaks HTTP, or HTTP where it speaks TCP",
    "It ends with the deployment that changes the protocol; to keep both, give one another discovery name.",
)
OTHER_MESH: Final = Kind(
    "TRM0313",
    ERROR,
    "TRAMO_MESH, or the API of TRAMO_API_URL, is of another mesh than the label; the sidecar never sees its own task",
    "Set TRAMO_API_URL and TRAMO_FEED_TABLE to the outputs of the label's stack, or correct `mesh` in the label.",
)
KINDS: Final = (
    UNKNOWN_VARIABLE,
    INBOUND_MISMATCH,
    APP_REFUSES,
    NOT_BOUND,
    HOSTS_NOT_WRITTEN,
    SERVICE_CONNECT,
    NO_REDIRECT,
    NAMESPACE_MISMATCH,
    FEED_NOT_READ,
    UNKNOWN_KEY,
    UNREADABLE,
    OTHER_KIND,
    OTHER_MESH,
)


class Finding(NamedTuple):
    """One mistake."""

    code: str
    level: str
    where: str
    what: str
    remedy: str

    def document(self) -> dict[str, str]:
        """Return it as pages and reports have it."""
        return self._asdict()


def _finding(kind: Kind, where: str, what: str, remedy: str) -> Finding:
    return Finding(
        kind.code, kind.level, where[:LONGEST_WHERE] or "-", what[:LONGEST_TEXT] or kind.meaning, remedy[:LONGEST_TEXT]
    )


def unknown_variables(names: Iterable[str], known: Sequence[str]) -> list[Finding]:
    """Variables of the environment that look like the sidecar's and are not."""
    found = []
    for name in sorted(names):
        if not name.startswith("TRAMO_") or name in known:
            continue
        close = difflib.get_close_matches(name, known, 1)
        remedy = f"did you mean {close[0]}?" if close else "remove it, or see docs/configuration.md for all of them"
        found.append(
            _finding(UNKNOWN_VARIABLE, name, f"{name} is no variable of the sidecar, so it does nothing", remedy)
        )
    return found


def inbound_mismatch(service: str, configured: str, expected: str) -> Finding:
    """TRAMO_INBOUND against what the task definition says; both in the words of TRAMO_INBOUND, empty for nothing."""
    if not configured:
        what = f"the label tramo.service-connect offers {expected}, which TRAMO_INBOUND leaves out"
    elif not expected:
        what = f"TRAMO_INBOUND has {configured}, which the label tramo.service-connect does not offer"
    else:
        what = f"TRAMO_INBOUND has {configured}, the label tramo.service-connect says {expected}"
    remedy = "tramo inject writes TRAMO_INBOUND from the label and portMappings"
    return _finding(INBOUND_MISMATCH, f"TRAMO_INBOUND, {service}", what, remedy)


def namespace_mismatch(configured: str, expected: str) -> Finding:
    """TRAMO_NAMESPACE against the label."""
    what = f"TRAMO_NAMESPACE is {configured}, and this task's label says {expected}: it never sees itself"
    return _finding(NAMESPACE_MISMATCH, "TRAMO_NAMESPACE", what, "leave TRAMO_NAMESPACE out: the label says it")


def mesh_mismatch(configured: str, expected: str) -> Finding:
    """TRAMO_MESH against the label."""
    what = f"TRAMO_MESH is {configured}, and this task's label says {expected}: its metrics are not with the mesh's"
    return _finding(OTHER_MESH, "TRAMO_MESH", what, "leave TRAMO_MESH out: the label says it")


def other_mesh(api: str, expected: str) -> Finding:
    """Say that the API is not that of the task's mesh."""
    what = f"the API is that of mesh {api}, and this task belongs to mesh {expected}: {api} never registers it"
    remedy = f"set TRAMO_API_URL and TRAMO_FEED_TABLE to the outputs of the stack of {expected}, or correct the label"
    return _finding(OTHER_MESH, "TRAMO_API_URL", what, remedy)


def unknown_key(container: str, place: str, key: str, known: Sequence[str]) -> Finding:
    """Name a key of a container's labels, or of a label's JSON at this place, that does nothing."""
    close = difflib.get_close_matches(key, known, 1)
    remedy = f"did you mean {close[0]}?" if close else "remove it, or see README.md for the label's fields"
    return _finding(UNKNOWN_KEY, f"container {container}, {place}", f"nobody knows {key}, so it does nothing", remedy)


def app_refuses(service: str, address: str, port: int) -> Finding:
    """Nobody listens where the app should."""
    what = f"nothing listens on {address}:{port}, where TRAMO_INBOUND or portMappings say that the app of {service} is"
    return _finding(APP_REFUSES, f"app port {port}", what, "see the app's log, and check containerPort")


def not_bound(host: str, port: int, names: Sequence[str], number: int, text: str) -> Finding:
    """Name an address of a service that cannot be listened on, for the reason that this error number gives."""
    return _finding(NOT_BOUND, f"{host}:{port}", f"{_listed(names)} cannot be called: {text}", cause(number, port))


def cause(number: int, port: int) -> str:
    """Say what to do about an address that cannot be bound."""
    if number == errno.EADDRINUSE:
        return (
            f"a process of this task listens on port {port} already: give the alias a port that no app of the task "
            "listens on, such as 80, or set proxyConfiguration and TRAMO_REDIRECT"
        )
    if number == errno.EACCES:
        return (
            f"port {port} is below net.ipv4.ip_unprivileged_port_start: run the sidecar as root, or set this "
            "systemControl to 0"
        )
    if number == errno.EMFILE:
        return (
            "each address is an open file: raise the ulimit nofile of the sidecar's container, or set "
            "proxyConfiguration and TRAMO_REDIRECT"
        )
    return "see docs/names.md, section Ports"


def hosts_not_written(path: str, error: str) -> Finding:
    """Say that the hosts file cannot be written."""
    remedy = (
        'run the sidecar with "user": "0" and no readonlyRootFilesystem; or use a private hosted zone or HTTP_PROXY '
        "and set TRAMO_HOSTS_FILE=off"
    )
    return _finding(HOSTS_NOT_WRITTEN, path, f"names cannot be written: {error}", remedy)


def service_connect(path: str, names: Sequence[str]) -> Finding:
    """Service Connect is in the same task."""
    what = f"Service Connect answers to {_listed(names)} in this task; where both have a name, its line comes first"
    remedy = "turn Service Connect off for this ECS service, or keep the names apart"
    return _finding(SERVICE_CONNECT, path, what, remedy)


def no_redirect(host: str, port: int, to: int) -> Finding:
    """Say that the network rules of the task do not lead here."""
    what = f"a call of {host}:{port} did not arrive at the sidecar's port {to}"
    remedy = (
        f"set proxyConfiguration in the task definition: type APPMESH, ProxyEgressPort {to}, and EgressIgnoredIPs "
        "without 240.0.0.0/4; it works in awsvpc mode only"
    )
    return _finding(NO_REDIRECT, "proxyConfiguration", what, remedy)


def feed_not_read(error: str) -> Finding:
    """Say that the feed cannot be read, and that this sidecar asks the API instead."""
    remedy = "see docs/registry.md, section The feed; the API is asked meanwhile"
    return _finding(FEED_NOT_READ, "TRAMO_FEED_TABLE", error, remedy)


def unreadable(service: str, parts: Sequence[str], why: str) -> Finding:
    """Parts of a service in the snapshot that cannot be read; `why` is said of the first."""
    where = f"service {service}" if service else "snapshot"
    what = f"{_listed(parts)} cannot be read: {why}"
    remedy = "bring sidecar and control plane to the same version; a service that cannot be read stays as it was known"
    return _finding(UNREADABLE, where, what, remedy)


def other_kind(service: str, protocol: str, count: int) -> Finding:
    """Endpoints that callers of a service cannot be sent to."""
    other = "HTTP" if protocol == "tcp" else "TCP"
    what = f"{count} endpoints speak {other}, the service speaks {protocol}: they get no traffic"
    remedy = "it ends with the deployment that changes the protocol; to keep both, give one another discovery name"
    return _finding(OTHER_KIND, f"service {service}", what, remedy)


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by code and place, each once, no more than travel in a report."""
    return sorted(set(found), key=lambda each: (each.level != ERROR, each.code, each.where))[:MOST_FINDINGS]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
