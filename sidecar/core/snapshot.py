"""The snapshot document of a namespace: bytes of the API or of the disk cache to values.

Rules:
- Unknown fields are ignored, missing, ill-typed or senseless ones are a `SnapshotError` that names the place: what
  stands in a snapshot is listened on, connected to and written into the hosts file.
- A delta (it has `since`) applies to the revision it was made from and to later ones, since it holds whole services;
  a document never goes back. Both are said of one epoch: a whole document of another epoch is taken whatever its
  revision, since the registry counts anew.
- A service that a new document says again as it was keeps its record: whoever compares by `is` sees what changed.
- One bad policy does not cost the namespace: that service runs with the default policy.
- A namespace may have 20,000 endpoints: fields that only people read are left out, zones and states are one text for
  all that have it, and what holds no other objects is hidden from the garbage collector.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

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
        """The service's policy; the default when the stored one cannot be read."""
        if self.policy is _NO_POLICY:
            return DEFAULT
        try:
            return _POLICY.decode(self.policy)
        except msgspec.DecodeError:
            return DEFAULT


class Document(msgspec.Struct, frozen=True):
    """A whole snapshot, or a delta when `since` is there."""

    schema: int
    namespace: str
    revision: int
    services: tuple[ServiceRecord, ...]
    generated_at: str = ""
    epoch: Epoch = ""
    since: int | None = None
    removed: tuple[str, ...] = ()


class Snapshot:
    """The services of a namespace at one revision of an epoch, which is empty where the registry knows none."""

    __slots__ = ("epoch", "namespace", "revision", "services")

    def __init__(self, namespace: str, revision: int, services: dict[str, ServiceRecord], epoch: str = "") -> None:
        self.epoch = epoch
        self.namespace = namespace
        self.revision = revision
        self.services = services

    @property
    def version(self) -> str:
        """Epoch and revision, as the registry writes them."""
        return f"{self.epoch}-{self.revision}" if self.epoch else str(self.revision)


_DOCUMENT: Final = msgspec.json.Decoder(Document)
_POLICY: Final = msgspec.json.Decoder(Policy)
_set: Final = msgspec.structs.force_setattr
"""Only before anybody else has the document."""
_BYTE: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}", re.ASCII)


def decode(data: bytes, namespace: str) -> Document:
    """The document in these bytes, checked to be for this namespace. Raises SnapshotError."""
    try:
        document = _DOCUMENT.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(f"not a snapshot: {error}") from None
    if document.schema != SCHEMA:
        raise SnapshotError(f"schema is {document.schema}, this sidecar reads {SCHEMA}")
    if document.namespace != namespace:
        raise SnapshotError(f"it is for the namespace {document.namespace!r}, not {namespace!r}")
    texts: dict[str, str] = {}
    for service in document.services:
        _check_addresses(service)
        for endpoint in service.endpoints:
            _set(endpoint, "state", texts.setdefault(endpoint.state, endpoint.state))
            if endpoint.zone is not None:
                _set(endpoint, "zone", texts.setdefault(endpoint.zone, endpoint.zone))
        # A part of the document as msgspec gives it keeps the whole document in memory.
        policy = _NO_POLICY if bytes(service.policy) == b"{}" else service.policy.copy()
        _set(service, "policy", policy)
    return document


def _check_addresses(service: ServiceRecord) -> None:
    if _IPV4.fullmatch(service.vip) is None:
        raise SnapshotError(f"service {service.name!r}: {service.vip!r} is no IPv4 address")
    for endpoint in service.endpoints:
        if _IPV4.fullmatch(endpoint.address) is None:  # else it need not be asked whether it is IPv6: that is slow
            try:
                ipaddress.IPv6Address(endpoint.address)
            except ValueError:
                detail = f"{endpoint.address!r} of {endpoint.id!r} is no IP address"
                raise SnapshotError(f"service {service.name!r}: {detail}") from None


def apply(current: Snapshot | None, document: Document) -> Snapshot:
    """The snapshot after this document. Raises SnapshotError when it does not fit the current one."""
    same_epoch = current is not None and document.epoch == current.epoch
    if current is not None and same_epoch and document.revision < current.revision:
        raise SnapshotError(f"revision {document.revision} is older than {current.revision}")
    before = current.services if current is not None else {}
    if document.since is None:
        whole = {service.name: _kept(before, service) for service in document.services}
        return Snapshot(document.namespace, document.revision, whole, document.epoch)
    if current is None or not same_epoch or document.since > current.revision:
        have = "none" if current is None else current.version
        asked = Snapshot(document.namespace, document.since, {}, document.epoch).version
        raise SnapshotError(f"a delta since {asked} came, but the revision here is {have}")
    services = dict(before)
    for name in document.removed:
        services.pop(name, None)
    for service in document.services:
        services[service.name] = _kept(before, service)
    return Snapshot(document.namespace, document.revision, services, document.epoch)


def _kept(before: dict[str, ServiceRecord], service: ServiceRecord) -> ServiceRecord:
    """The record at hand if the new one says the same."""
    known = before.get(service.name)
    return known if known is not None and known == service else service


def encode(snapshot: Snapshot) -> bytes:
    """The snapshot as a whole document, for the disk cache."""
    services = tuple(snapshot.services.values())
    return msgspec.json.encode(Document(SCHEMA, snapshot.namespace, snapshot.revision, services, epoch=snapshot.epoch))
