"""The records of a private hosted zone: what they should be, and the way there from what they are. Pure.

Rules:
1. A name of a service that lies in the zone gets an A record with the service's virtual address. A name without a dot
   lies in the zone that is called as its namespace. The zone's own name gets none.
2. Of several services with one name that has it whose own name it is: the service and its namespace with a dot between
   them, as `orders` of `shop.local` has `orders.shop.local`. Of others those of the namespace that the name lies below
   come first, then all by namespace and service.
3. Ours is an A record with one address, of a network in which only virtual addresses are. All other records are
   somebody's: they are never changed, and a name that has one gets none of ours.
4. A batch keeps to what Route 53 takes at once. Within a batch all is done or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from registry.domain.snapshot import Document

TTL_SECONDS: Final = 60
"""A service keeps its address; so long a name that went is still found."""

MOST_ELEMENTS: Final = 1000
"""Of ResourceRecord in one ChangeResourceRecordSets; those of an UPSERT count twice."""

MOST_CHARACTERS: Final = 32_000
"""Of all values in one ChangeResourceRecordSets; those of an UPSERT count twice."""

_BLOCKING: Final = frozenset({"A", "AAAA", "CNAME"})
"""What else answers to a name, or cannot stand beside an A record."""


class Mode(StrEnum):
    """How the tasks that ask the zone share their ports; it decides the network of the addresses."""

    LISTEN = "listen"
    REDIRECT = "redirect"


_Order = tuple[bool, bool, str, str]

_PREFIXES: Final = {Mode.LISTEN: "127.254.", Mode.REDIRECT: "240.0."}


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done in a zone; `taken` are names that somebody's records have."""

    written: Mapping[str, str]
    removed: Mapping[str, Mapping[str, Any]]
    taken: tuple[str, ...]


def wanted(zone: str, namespaces: Mapping[str, Iterable[Document]], mode: Mode) -> dict[str, str]:
    """Return the address of each name in the zone (rules 1 and 2). The documents are those of the snapshots."""
    zone = zone.rstrip(".").lower()
    found: dict[str, tuple[_Order, str]] = {}
    for namespace, documents in namespaces.items():
        for service in documents:
            for alias in service["aliases"]:
                name = str(alias["dns_name"])
                if "." not in name and namespace.lower() == zone:
                    name = f"{name}.{zone}"
                if name.endswith(f".{zone}"):
                    claim = (_order(name, namespace, str(service["name"])), address_in(str(service["vip"]), mode))
                    found[name] = min(found.get(name, claim), claim)
    return {name: address for name, (_, address) in found.items()}


def _order(name: str, namespace: str, service: str) -> _Order:
    """Return the place of a service among those that want a name (rule 2)."""
    suffix = f".{namespace.lower()}"
    return name != f"{service}{suffix}", not name.endswith(suffix), namespace, service


def address_in(vip: str, mode: Mode) -> str:
    """Return a service's virtual address in the network of a mode: its last two numbers are the same in all."""
    return _PREFIXES[mode] + vip.split(".", 2)[2]


def changes(present: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Changes:
    """Return how a zone with these record sets, as Route 53 lists them, comes to have these names."""
    ours: dict[str, Mapping[str, Any]] = {}
    others: set[str] = set()
    for record in present:
        name = str(record["Name"]).rstrip(".").lower()
        if _is_ours(record):
            ours[name] = record
        elif record["Type"] in _BLOCKING:
            others.add(name)
    return Changes(
        written={
            name: address
            for name, address in names.items()
            if name not in others and (name not in ours or _address(ours[name]) != address)
        },
        removed={name: record for name, record in ours.items() if name not in names},
        taken=tuple(sorted(names.keys() & others)),
    )


def _is_ours(record: Mapping[str, Any]) -> bool:
    """Return whether a record set is ours; what Route 53 chooses among by a policy has an identifier, and is not."""
    return (
        record["Type"] == "A"
        and "SetIdentifier" not in record
        and len(record.get("ResourceRecords") or ()) == 1
        and _address(record).startswith(tuple(_PREFIXES.values()))
    )


def _address(record: Mapping[str, Any]) -> str:
    return str(record["ResourceRecords"][0]["Value"])


def batches(found: Changes) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield the changes as ChangeResourceRecordSets takes them: removals first, since a zone has a quota of records."""
    batch: list[dict[str, Any]] = []
    elements = characters = 0
    for change, weight in _all(found):
        length = weight * len(_address(change["ResourceRecordSet"]))
        if batch and (elements + weight > MOST_ELEMENTS or characters + length > MOST_CHARACTERS):
            yield batch
            batch, elements, characters = [], 0, 0
        batch.append(change)
        elements, characters = elements + weight, characters + length
    if batch:
        yield batch


def _all(found: Changes) -> Iterator[tuple[dict[str, Any], int]]:
    for _, record in sorted(found.removed.items()):
        yield {"Action": "DELETE", "ResourceRecordSet": dict(record)}, 1
    for name, address in sorted(found.written.items()):
        record = {"Name": f"{name}.", "Type": "A", "TTL": TTL_SECONDS, "ResourceRecords": [{"Value": address}]}
        yield {"Action": "UPSERT", "ResourceRecordSet": record}, 2
