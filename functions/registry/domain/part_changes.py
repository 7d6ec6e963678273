"""The changes of a part since its base was written. Pure.

They go down to the endpoint, since a service may have thousands of them: of a service that changed, only the
fields that differ, the endpoints that are new or differ, and the ids of those that went.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.domain.snapshot import Document, Part, PartError, compress, decompress


def changes_between(base: Part, part: Part) -> Document:
    """Return what makes `part` of `base`."""
    return {
        "services": {
            name: _service_changes(base.services.get(name), document)
            for name, document in part.services.items()
            if base.services.get(name) != document
        },
        "gone": sorted(base.services.keys() - part.services.keys()),
        "removed": {name: at for name, at in part.removed.items() if base.removed.get(name) != at},
        "forgotten": sorted(base.removed.keys() - part.removed.keys()),
        "floor": part.floor,
    }


def apply_changes(base: Part, changes: Mapping[str, Any]) -> Part:
    """Return the part that `changes_between` was given."""
    services = {name: document for name, document in base.services.items() if name not in changes["gone"]}
    for name, changed in changes["services"].items():
        services[name] = _changed_service(base.services.get(name), changed)
    removed = {name: at for name, at in base.removed.items() if name not in changes["forgotten"]}
    return Part(services, removed | changes["removed"], changes["floor"])


def encode_changes(base: Part, part: Part) -> bytes:
    """Return what makes `part` of `base`, as it is stored."""
    return compress(changes_between(base, part))


def decode_changes(data: bytes, base: Part) -> Part:
    """Return the part that a base and its stored changes make. Raises PartError when they are damaged."""
    try:
        return apply_changes(base, decompress(data))
    except (KeyError, TypeError, AttributeError) as error:
        raise PartError(f"the stored changes of a part are damaged: {error}") from error


def _service_changes(old: Document | None, new: Document) -> Document:
    known = {} if old is None else {each["id"]: each for each in old["endpoints"]}
    present = {each["id"] for each in new["endpoints"]}
    return {
        "fields": {
            key: value
            for key, value in new.items()
            if key != "endpoints" and (old is None or key not in old or old[key] != value)
        },
        "endpoints": [each for each in new["endpoints"] if known.get(each["id"]) != each],
        "without": sorted(known.keys() - present),
    }


def _changed_service(old: Document | None, changed: Mapping[str, Any]) -> Document:
    endpoints = {} if old is None else {each["id"]: each for each in old["endpoints"]}
    for gone in changed["without"]:
        del endpoints[gone]
    endpoints |= {each["id"]: each for each in changed["endpoints"]}
    return {
        **(old or {}),
        **changed["fields"],
        "endpoints": sorted(endpoints.values(), key=lambda endpoint: str(endpoint["id"])),
    }
