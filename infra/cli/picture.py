"""What the registry says of a mesh at one moment, as a document that can be kept, and how two of them differ. Pure.

The registry keeps the present and no past, except for ECS's events. So whoever wants to compare keeps a picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1
FIELDS: Final = ("protocol", "vip")

Json = Mapping[str, Any]


class PictureError(ValueError):
    """A document is no picture."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `sign` is + for what is new, - for what is gone and ~ for what has changed."""

    namespace: str
    sign: str
    resource: str
    what: str


def made(taken_at: str, snapshots: Mapping[str, Json]) -> dict[str, Any]:
    """Return a picture of the snapshots of namespaces."""
    return {
        "tramo": VERSION,
        "taken_at": taken_at,
        "namespaces": {
            name: {
                "revision": snapshot["revision"],
                "services": {each["name"]: _service(each) for each in snapshot["services"]},
            }
            for name, snapshot in sorted(snapshots.items())
        },
    }


def _service(service: Json) -> dict[str, Any]:
    return {
        **{field: service[field] for field in FIELDS},
        "aliases": sorted(f"{each['dns_name']}:{each['port']}" for each in service["aliases"]),
        "policy": service.get("policy", {}),
        "endpoints": {
            each["id"]: {
                "address": f"{each['address']}:{each['port']}",
                "state": each["state"],
                "task_definition": each["task_definition"],
            }
            for each in service["endpoints"]
        },
    }


def read(document: Any) -> Json:
    """Return a picture that was kept. Raises PictureError."""
    if not isinstance(document, dict) or not isinstance(document.get("namespaces"), dict):
        raise PictureError("it is no picture of a mesh; tramo diff --save FILE writes one")
    if document.get("tramo") != VERSION:
        raise PictureError(f"it is a picture of version {document.get('tramo')}; this command reads {VERSION}")
    return document


def changes(before: Json, after: Json) -> Iterator[Change]:
    """Yield how the later picture differs from the earlier one, in the order of names."""
    old, new = before["namespaces"], after["namespaces"]
    for namespace in sorted({*old, *new}):
        was = old.get(namespace, {"services": {}})["services"]
        now = new.get(namespace, {"services": {}})["services"]
        for name in sorted({*was, *now}):
            resource = f"svc/{name}"
            if name not in was:
                yield Change(namespace, "+", resource, f"new service, {now[name]['protocol']}")
                yield from _ready(namespace, resource, {}, now[name]["endpoints"])
            elif name not in now:
                yield Change(namespace, "-", resource, "the service is gone")
            else:
                yield from _of_service(namespace, resource, was[name], now[name])


def _of_service(namespace: str, resource: str, was: Json, now: Json) -> Iterator[Change]:
    for field in FIELDS:
        if was[field] != now[field]:
            yield Change(namespace, "~", resource, f"{field} {was[field]} → {now[field]}")
    for sign, one, other in (("-", was, now), ("+", now, was)):
        for alias in one["aliases"]:
            if alias not in other["aliases"]:
                yield Change(namespace, sign, resource, f"alias {alias}")
    before, after = dict(_flat(was["policy"])), dict(_flat(now["policy"]))
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            shown = f"{before.get(path, 'default')} → {after.get(path, 'default')}"
            yield Change(namespace, "~", resource, f"policy {path} {shown}")
    yield from _ready(namespace, resource, was["endpoints"], now["endpoints"])


def _ready(namespace: str, resource: str, was: Json, now: Json) -> Iterator[Change]:
    """Yield what became of the endpoints: by definition, since single tasks come and go all the time."""
    before, after = _counts(was), _counts(now)
    for definition, state in sorted({*before, *after}):
        then, count = before[definition, state], after[definition, state]
        if then != count:
            sign = "+" if not then else "-" if not count else "~"
            yield Change(namespace, sign, resource, f"{state} endpoints of {definition}: {then} → {count}")
    replaced = len(was.keys() - now.keys())
    if replaced and before == after:
        yield Change(namespace, "~", resource, f"{replaced} endpoints replaced by others of the same definition")


def _counts(endpoints: Json) -> Counter[tuple[str, str]]:
    return Counter((each["task_definition"], each["state"]) for each in endpoints.values())


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of an object of objects with their paths."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, value
