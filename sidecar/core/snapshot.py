"""The snapshot document of a namespace: bytes of the API or of the disk cache to values.

Rules:
- Unknown fields are ignored. What is missing, ill-typed or senseless is not used: what stands in a snapshot is listened
  on, connected to and written into the hosts file.
- A service or endpoint that cannot be read stays as it was known, and is left out if it was not; an alias is left out,
  and an unreadable policy is the default. Each is named in `unreadable`; everything else is used. Only what is wrong
  with the document as a whole is a `SnapshotError`.
- A delta (it has `since`) applies to the revision it was made from and to later ones, since it holds whole services;
  a document never goes back. Both are said of one epoch: a whole document of another epoch is taken whatever its
  revision, since the registry counts again.
- A service that a new document says again as it was keeps its record: whoever compares by `is` sees what changed.
- A namespace may have 20,000 endpoints: fields that only people read are left out, zones and states are one text for
  all that have it, and what holds no other objects is hidden from the garbage collector.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from sidecar.core.routing.policy import DEFAULT, Policy
from sidecar.core.states import AppProtocol

SCHEMA: Final = 1

Port = Annotated[int, Meta(ge=1, le=65535)]
Epoch = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{0,64}\Z")]  # it goes into a URL
DnsName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,253}\Z")]


_NO_POLICY: Final = msgspec.Raw(b"{}")


class SnapshotError(ValueError):
    """The document cannot be used; the message says where it is wrong."""


class Unreadable(NamedTuple):
    """A part of a service that cannot be read, and why. `service` is empty where the name is not to be read either."""

    service: str
    part: str
    """What it costs: the service, an endpoint or alias of it, or its policy."""
    why: str
    endpoint: str = ""
    """The id, where it is an endpoint and its id can be read."""


WHOLE_SERVICE: Final = "the service"
LONGEST_NAME: Final = 80
LONGEST_WHY: Final = 160


class Alias(msgspec.Struct, frozen=True, gc=False):
    """A name and port under which apps reach a service."""

    dns_name: DnsName
    port: Port


class EndpointRecord(msgspec.Struct, frozen=True, gc=False):
    """Where one task serves a service."""

    id: str
    address: str
    port: Port
    state: str  # see states.state_of: a newer registry may know others
    zone: str | None = None
    weight: int = 100
    protocol: AppProtocol | None = None  # the service's where it is absent


class ServiceRecord(msgspec.Struct, frozen=True):
    """One service of the namespace."""

    name: str
    protocol: AppProtocol
    vip: str
    revision: int
    aliases: tuple[Alias, ...]
    endpoints: tuple[EndpointRecord, ...]
    policy: msgspec.Raw = _NO_POLICY

    def policy_or_default(self) -> Policy:
        """Return the service's policy; the default when the stored one cannot be read."""
        if self.policy is _NO_POLICY:
            return DEFAULT
        try:
            return _POLICY.decode(self.policy)
        except _CANNOT_BE_READ:
            return DEFAULT


class _Wire(msgspec.Struct, frozen=True):
    """A document as it is sent."""

    schema: int
    namespace: str
    revision: int
    services: tuple[ServiceRecord, ...]
    generated_at: str = ""
    epoch: Epoch = ""
    since: int | None = None
    removed: tuple[str, ...] = ()


class Document(_Wire, frozen=True):
    """A whole snapshot, or a delta when `since` is there."""

    unreadable: tuple[Unreadable, ...] = ()


class _LooseDocument(msgspec.Struct, frozen=True):
    """A document of which a service cannot be read."""

    schema: int
    namespace: str
    revision: int
    services: tuple[msgspec.Raw, ...]
    generated_at: str = ""
    epoch: Epoch = ""
    since: int | None = None
    removed: tuple[str, ...] = ()


class _LooseService(msgspec.Struct, frozen=True):
    """A service of which an alias or endpoint cannot be read."""

    name: str
    protocol: AppProtocol
    vip: str
    revision: int
    aliases: tuple[msgspec.Raw, ...]
    endpoints: tuple[msgspec.Raw, ...]
    policy: msgspec.Raw = _NO_POLICY


class _NameOfService(msgspec.Struct, frozen=True):
    name: str


class _IdOfEndpoint(msgspec.Struct, frozen=True):
    id: str


class Snapshot:
    """The services of a namespace at one revision of an epoch, which is empty where the registry knows none.

    `unreadable` has what could not be read, by service; those without a name are the latest document's.
    """

    __slots__ = ("epoch", "namespace", "revision", "services", "unreadable")

    def __init__(
        self,
        namespace: str,
        revision: int,
        services: dict[str, ServiceRecord],
        epoch: str = "",
        unreadable: dict[str, list[Unreadable]] | None = None,
    ) -> None:
        self.epoch = epoch
        self.namespace = namespace
        self.revision = revision
        self.services = services
        self.unreadable = unreadable or {}

    @property
    def version(self) -> str:
        """Epoch and revision, as the registry writes them."""
        return f"{self.epoch}-{self.revision}" if self.epoch else str(self.revision)


Entry = TypeVar("Entry", ServiceRecord, Alias, EndpointRecord)

_DOCUMENT: Final = msgspec.json.Decoder(_Wire)
_LOOSE_DOCUMENT: Final = msgspec.json.Decoder(_LooseDocument)
_SERVICE: Final = msgspec.json.Decoder(ServiceRecord)
_LOOSE_SERVICE: Final = msgspec.json.Decoder(_LooseService)
_ALIAS: Final = msgspec.json.Decoder(Alias)
_ENDPOINT: Final = msgspec.json.Decoder(EndpointRecord)
_NAME: Final = msgspec.json.Decoder(_NameOfService)
_ID: Final = msgspec.json.Decoder(_IdOfEndpoint)
_CANNOT_BE_READ: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_POLICY: Final = msgspec.json.Decoder(Policy)
_set: Final = msgspec.structs.force_setattr
"""Only before anybody else has the document."""
_BYTE: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}", re.ASCII)


def decode(data: bytes, namespace: str) -> Document:
    """Return the document in these bytes, checked to be for this namespace. Raises SnapshotError."""
    unreadable: list[Unreadable] = []
    try:
        wire = _DOCUMENT.decode(data)
    except _CANNOT_BE_READ:
        wire = _by_entry(data, unreadable)
    if wire.schema != SCHEMA:
        raise SnapshotError(f"schema is {wire.schema}, this sidecar reads {SCHEMA}")
    if wire.namespace != namespace:
        raise SnapshotError(f"it is for the namespace {wire.namespace!r}, not {namespace!r}")
    texts: dict[str, str] = {}
    services = tuple(
        checked for service in wire.services if (checked := _checked(service, texts, unreadable)) is not None
    )
    return Document(
        wire.schema,
        wire.namespace,
        wire.revision,
        services,
        wire.generated_at,
        wire.epoch,
        wire.since,
        wire.removed,
        tuple(unreadable),
    )


def _by_entry(data: bytes, unreadable: list[Unreadable]) -> _Wire:
    """Return the document without what cannot be read of it. Raises SnapshotError when that is the whole."""
    try:
        loose = _LOOSE_DOCUMENT.decode(data)
    except _CANNOT_BE_READ as error:
        raise SnapshotError(f"not a snapshot: {error}") from None
    found = (_service(raw, number, unreadable) for number, raw in enumerate(loose.services))
    services = tuple(service for service in found if service is not None)
    return _Wire(
        loose.schema,
        loose.namespace,
        loose.revision,
        services,
        loose.generated_at,
        loose.epoch,
        loose.since,
        loose.removed,
    )


def _service(raw: msgspec.Raw, number: int, unreadable: list[Unreadable]) -> ServiceRecord | None:
    """Return a service without the aliases and endpoints that cannot be read; None if it cannot be read itself."""
    try:
        return _SERVICE.decode(raw)
    except _CANNOT_BE_READ:
        pass  # at least one thing in it is wrong
    try:
        loose = _LOOSE_SERVICE.decode(raw)
    except _CANNOT_BE_READ as error:
        try:
            name, part = _NAME.decode(raw).name, WHOLE_SERVICE
        except _CANNOT_BE_READ:
            name, part = "", f"service {number} of the document"
        unreadable.append(_unreadable(name, part, str(error)))
        return None
    return ServiceRecord(
        loose.name,
        loose.protocol,
        loose.vip,
        loose.revision,
        tuple(_entries(loose, "alias", loose.aliases, _ALIAS, unreadable)),
        tuple(_entries(loose, "endpoint", loose.endpoints, _ENDPOINT, unreadable)),
        loose.policy,
    )


def _entries(
    service: _LooseService,
    kind: str,
    raws: Iterable[msgspec.Raw],
    decoder: msgspec.json.Decoder[Entry],
    unreadable: list[Unreadable],
) -> list[Entry]:
    found = []
    for number, raw in enumerate(raws):
        try:
            found.append(decoder.decode(raw))
        except _CANNOT_BE_READ as error:
            try:
                endpoint = _ID.decode(raw).id
            except _CANNOT_BE_READ:
                endpoint = ""
            which = f"{kind} {endpoint or number}"
            unreadable.append(_unreadable(service.name, which, str(error), endpoint))
    return found


def _unreadable(service: str, part: str, why: str, endpoint: str = "") -> Unreadable:
    return Unreadable(service, part[:LONGEST_NAME], why[:LONGEST_WHY], endpoint)


def _checked(service: ServiceRecord, texts: dict[str, str], unreadable: list[Unreadable]) -> ServiceRecord | None:
    """Return the service with what can be used of it; None if it cannot be listened for."""
    if _IPV4.fullmatch(service.vip) is None:
        unreadable.append(_unreadable(service.name, WHOLE_SERVICE, f"{service.vip!r} is no IPv4 address"))
        return None
    usable = tuple(endpoint for endpoint in service.endpoints if _is_address(endpoint.address))
    if len(usable) < len(service.endpoints):
        unreadable += [
            _unreadable(service.name, f"endpoint {endpoint.id}", f"{endpoint.address!r} is no IP address", endpoint.id)
            for endpoint in service.endpoints
            if not _is_address(endpoint.address)
        ]
        service = msgspec.structs.replace(service, endpoints=usable)
    for endpoint in service.endpoints:
        _set(endpoint, "state", texts.setdefault(endpoint.state, endpoint.state))
        if endpoint.zone is not None:
            _set(endpoint, "zone", texts.setdefault(endpoint.zone, endpoint.zone))
    if bytes(service.policy) == b"{}":
        _set(service, "policy", _NO_POLICY)
        return service
    # A part of the document as msgspec gives it keeps the whole document in memory.
    _set(service, "policy", service.policy.copy())
    try:
        _POLICY.decode(service.policy)
    except _CANNOT_BE_READ as error:
        unreadable.append(_unreadable(service.name, "the policy, instead of which the default is used", str(error)))
    return service


def _is_address(text: str) -> bool:
    if _IPV4.fullmatch(text) is not None:  # then it need not be asked whether it is IPv6: that is slow
        return True
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def apply(current: Snapshot | None, document: Document) -> Snapshot:
    """Return the snapshot after this document. Raises SnapshotError when it does not fit the current one."""
    same_epoch = current is not None and document.epoch == current.epoch
    if current is not None and same_epoch and document.revision < current.revision:
        raise SnapshotError(f"revision {document.revision} is older than {current.revision}")
    before = current.services if current is not None else {}
    services: dict[str, ServiceRecord] = {}
    unreadable: dict[str, list[Unreadable]] = {}
    if document.since is not None:
        if current is None or not same_epoch or document.since > current.revision:
            have = "none" if current is None else current.version
            asked = Snapshot(document.namespace, document.since, {}, document.epoch).version
            raise SnapshotError(f"a delta since {asked} came, but the revision here is {have}")
        services = dict(before)
        said_again = {"", *document.removed, *(service.name for service in document.services)}
        unreadable = {name: found for name, found in current.unreadable.items() if name not in said_again}
        for name in document.removed:
            services.pop(name, None)
    news = _by_service(document.unreadable)
    for service in document.services:
        services[service.name] = _kept(before, _completed(before, service, news.get(service.name, [])))
    for name, found in news.items():
        unreadable[name] = found
        if name not in services and name in before and any(each.part == WHOLE_SERVICE for each in found):
            services[name] = before[name]
    return Snapshot(document.namespace, document.revision, services, document.epoch, unreadable)


def _by_service(unreadable: Iterable[Unreadable]) -> dict[str, list[Unreadable]]:
    found: dict[str, list[Unreadable]] = {}
    for each in unreadable:
        found.setdefault(each.service, []).append(each)
    return found


def _completed(before: dict[str, ServiceRecord], service: ServiceRecord, lost: list[Unreadable]) -> ServiceRecord:
    """Return the record with its endpoints that cannot be read as they were known."""
    ids = {each.endpoint for each in lost if each.endpoint}
    known = before.get(service.name)
    if known is None or not ids:
        return service
    kept = tuple(endpoint for endpoint in known.endpoints if endpoint.id in ids)
    return msgspec.structs.replace(service, endpoints=(*service.endpoints, *kept))


def _kept(before: dict[str, ServiceRecord], service: ServiceRecord) -> ServiceRecord:
    """Return the record at hand if the new one says the same."""
    known = before.get(service.name)
    return known if known is not None and known == service else service


def encode(snapshot: Snapshot) -> bytes:
    """Return the snapshot as a whole document, for the disk cache."""
    services = tuple(snapshot.services.values())
    return msgspec.json.encode(_Wire(SCHEMA, snapshot.namespace, snapshot.revision, services, epoch=snapshot.epoch))
