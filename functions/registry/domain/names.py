"""Which names a service may give itself. Pure.

Sidecars write aliases into the hosts files of the tasks of a namespace, so an alias answers before any DNS server does.

Rules:
1. Never an alias (`fault_of`): what is no host name, the machine itself, what a resolver takes for an address, and
   the names under which clouds offer metadata and credentials.
2. Always an alias: one label (`orders`), a name below the namespace (`orders.shop.local` in `shop.local`, `orders.prod`
   in `prod`), and a name below a suffix that no public DNS has (`PRIVATE_SUFFIXES`).
3. Any other name is public, somebody's on the internet. The namespace's policy must name it or a suffix of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# RFC 2606 and 6761 (test, example), 6762 (local, and appendix G), 8375 (home.arpa), ICANN 2024 (internal).
PRIVATE_SUFFIXES: Final = (
    "local",
    "internal",
    "test",
    "example",
    "home.arpa",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
)

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What a hosts file of Linux or Docker gives to the machine.
_MACHINE: Final = frozenset(
    {"localhost", "localdomain", "broadcasthost", "loopback", "ip6-localhost", "ip6-loopback", "ip6-localnet"}
    | {"ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts"}
)
_METADATA: Final = frozenset({"instance-data", "metadata"})
_METADATA_SUFFIXES: Final = ("ec2.internal", "compute.internal", "google.internal", "docker.internal")
# inet_aton takes 127.1, 2130706433 and 0x7f.1 for addresses.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def fault_of(name: str) -> str | None:
    """Return why no service may have this name, None when one may."""
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "is no host name"
    if _NUMBER.fullmatch(labels[-1]):
        return "can be read as an address"
    if labels[-1] in _MACHINE:
        return "is the machine itself"
    if labels[0] in _METADATA or _is_below(name, _METADATA_SUFFIXES):
        return "is a name of the cloud's own"
    return None


def is_private(name: str, namespace: str) -> bool:
    """Return whether a name needs nobody's permission (rule 2)."""
    return "." not in name or _is_below(name, (namespace.lower(), *PRIVATE_SUFFIXES))


def is_allowed(name: str, namespace: str, suffixes: Iterable[str]) -> bool:
    """Return whether a service of the namespace may have this name; `suffixes` are those of its policy."""
    return fault_of(name) is None and (is_private(name, namespace) or name in suffixes or _is_below(name, suffixes))


def _is_below(name: str, suffixes: Iterable[str]) -> bool:
    return any(name.endswith(f".{suffix}") for suffix in suffixes)
