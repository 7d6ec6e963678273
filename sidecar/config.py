"""The sidecar's configuration, read from environment variables, because that is what ECS sets.

`variables.py` lists them. Every mistake is a `ConfigError` that names the variable, what is wrong with it and what it
should look like.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from sidecar.core.findings import Finding, unknown_variables
from sidecar.core.states import APP_PROTOCOLS, AppProtocol
from sidecar.variables import VARIABLES


class ConfigError(ValueError):
    """The environment does not describe a sidecar."""


LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110, in small letters
_SECRETS: Final = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie", "x-amz-security-token"))
_MAX_HEADERS: Final = 16
"""Each line may have them all, each with 2 KiB; more is a copy of the traffic."""
_LISTENED: Final = ipaddress.IPv4Network("127.254.0.0/16")
_LOOPBACK: Final = ipaddress.IPv4Network("127.0.0.0/8")
_REDIRECTED: Final = ipaddress.IPv4Network("240.0.0.0/16")
_RESERVED: Final = ipaddress.IPv4Network("240.0.0.0/4")
"""Nobody's addresses: the rules leave all other traffic of the task alone."""
_MESH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_INBOUND: Final = re.compile(r"([a-z0-9_][a-z0-9_-]{0,63})=(\d{1,5}):(\d{1,5})/(\w+)")


@dataclass(frozen=True, slots=True)
class InboundService:
    """A service that this task offers."""

    name: str
    ingress_port: int
    app_port: int
    protocol: AppProtocol


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """What goes to an OpenTelemetry collector."""

    endpoint: str
    headers: tuple[tuple[str, str], ...]
    traces: bool
    metrics: bool
    service_name: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says."""

    namespace: str
    mesh: str
    api_url: str
    feed_table: str
    dynamodb_url: str
    s3_url: str
    cloudwatch_url: str
    region: str
    inbound: tuple[InboundService, ...]
    listen_address: str
    app_address: str
    redirect: tuple[str, int] | None
    vip_network: ipaddress.IPv4Network
    forward_proxy: tuple[str, int] | None
    admin: tuple[str, int]
    hosts_file: str | None
    cache_file: str | None
    poll_seconds: float
    fallback_seconds: float
    metrics: str
    metrics_seconds: float
    access_log: str
    access_log_sample: float
    access_log_query: bool
    access_log_headers: tuple[bytes, ...]
    tracing: str
    tracing_rate: float
    xray_daemon: tuple[str, int]
    otlp: OtlpConfig | None
    service_name: str
    cluster_name: str
    zone: str
    drain_seconds: float
    log_level: str
    metadata_uri: str
    findings: tuple[Finding, ...]


def read(environment: Mapping[str, str]) -> Config:
    """Return the configuration in these variables. Raises ConfigError."""
    values: dict[str, str] = {}
    for variable in VARIABLES:
        value = environment.get(variable.name, "").strip() or variable.default
        if value is None:
            raise ConfigError(f"{variable.name} is not set: {variable.meaning}")
        values[variable.name] = value
    return Config(
        namespace=values["TRAMO_NAMESPACE"],
        mesh=_mesh(values["TRAMO_MESH"]),
        api_url=_url(values, "TRAMO_API_URL"),
        feed_table=values["TRAMO_FEED_TABLE"],
        dynamodb_url=_endpoint(values, "AWS_ENDPOINT_URL_DYNAMODB"),
        s3_url=_endpoint(values, "AWS_ENDPOINT_URL_S3"),
        cloudwatch_url=_endpoint(values, "AWS_ENDPOINT_URL_CLOUDWATCH"),
        region=values["AWS_REGION"],
        inbound=_inbound(values["TRAMO_INBOUND"]),
        listen_address=_address(values, "TRAMO_LISTEN_ADDRESS"),
        app_address=_address(values, "TRAMO_APP_ADDRESS"),
        redirect=_socket(values, "TRAMO_REDIRECT") if values["TRAMO_REDIRECT"] != "off" else None,
        vip_network=_network(values["TRAMO_VIP_NETWORK"], values["TRAMO_REDIRECT"] != "off"),
        forward_proxy=_socket(values, "TRAMO_FORWARD_PROXY") if values["TRAMO_FORWARD_PROXY"] != "off" else None,
        admin=_socket(values, "TRAMO_ADMIN"),
        hosts_file=_path(values["TRAMO_HOSTS_FILE"]),
        cache_file=_path(values["TRAMO_CACHE_FILE"]),
        poll_seconds=_seconds(values, "TRAMO_POLL_SECONDS"),
        fallback_seconds=_seconds(values, "TRAMO_FALLBACK_SECONDS"),
        metrics=_choice(values, "TRAMO_METRICS", ("cloudwatch", "emf", "off")),
        metrics_seconds=_seconds(values, "TRAMO_METRICS_SECONDS"),
        access_log=_choice(values, "TRAMO_ACCESS_LOG", ("off", "json", "text")),
        access_log_sample=_share(values, "TRAMO_ACCESS_LOG_SAMPLE"),
        access_log_query=_choice(values, "TRAMO_ACCESS_LOG_QUERY", ("off", "on")) == "on",
        access_log_headers=_headers(values["TRAMO_ACCESS_LOG_HEADERS"]),
        tracing=_choice(values, "TRAMO_TRACING", ("off", "xray")),
        tracing_rate=_share(values, "TRAMO_TRACING_RATE"),
        xray_daemon=_daemon(values["AWS_XRAY_DAEMON_ADDRESS"]),
        otlp=_otlp(values),
        service_name=values["TRAMO_SERVICE_NAME"],
        cluster_name=values["TRAMO_CLUSTER_NAME"],
        zone=values["TRAMO_ZONE"],
        drain_seconds=_seconds(values, "TRAMO_DRAIN_SECONDS"),
        log_level=_choice(values, "TRAMO_LOG_LEVEL", LOG_LEVELS),
        metadata_uri=values["ECS_CONTAINER_METADATA_URI_V4"],
        findings=tuple(unknown_variables(environment, [variable.name for variable in VARIABLES])),
    )


def _url(values: dict[str, str], name: str) -> str:
    try:
        parts = urlsplit(values[name])
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{name} is {values[name]!r}: {error}; it should look like https://host/stage") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{name} is {values[name]!r}; it should look like https://host/stage")
    return values[name].rstrip("/")


def _endpoint(values: dict[str, str], name: str) -> str:
    """Return the address of an AWS service, empty for its usual one."""
    chosen = name if values[name] else "AWS_ENDPOINT_URL"
    return _url(values, chosen) if values[chosen] else ""


def _otlp(values: dict[str, str]) -> OtlpConfig | None:
    """Where OTLP goes, None if nowhere."""
    _choice(values, "OTEL_EXPORTER_OTLP_PROTOCOL", ("http/protobuf",))
    found = OtlpConfig(
        endpoint=_url(values, "OTEL_EXPORTER_OTLP_ENDPOINT") if values["OTEL_EXPORTER_OTLP_ENDPOINT"] else "",
        headers=_pairs(values, "OTEL_EXPORTER_OTLP_HEADERS"),
        traces=_choice(values, "OTEL_TRACES_EXPORTER", ("otlp", "none")) == "otlp",
        metrics=_choice(values, "OTEL_METRICS_EXPORTER", ("otlp", "none")) == "otlp",
        service_name=values["OTEL_SERVICE_NAME"],
        attributes=_pairs(values, "OTEL_RESOURCE_ATTRIBUTES"),
    )
    for name, value in found.headers:
        if _HEADER.fullmatch(name.lower()) is None or not value.isascii() or not value.isprintable():
            raise ConfigError(
                f"OTEL_EXPORTER_OTLP_HEADERS has the field {name!r}, which is not one of HTTP; "
                "it should look like x-tenant=shop,api-key=abc"
            )
    return found if found.endpoint and (found.traces or found.metrics) else None


def _pairs(values: dict[str, str], name: str) -> tuple[tuple[str, str], ...]:
    """`name=value` pairs with percent-encoding, as OpenTelemetry writes them (W3C Baggage without properties)."""
    found = []
    for part in filter(None, (part.strip() for part in values[name].split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{name} has a part without a name or without `=`; it should look like a=1,b=2")
        found.append((key.strip(), unquote(value.strip())))
    return tuple(found)


def _mesh(value: str) -> str:
    if value and _MESH.fullmatch(value) is None:
        raise ConfigError(
            f"TRAMO_MESH is {value!r}; it should be the stack's parameter Mesh, at most 63 of letters, digits, _ and -"
        )
    return value


def _inbound(value: str) -> tuple[InboundService, ...]:
    services = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        match = _INBOUND.fullmatch(item)
        if match is None or match[4] not in APP_PROTOCOLS:
            raise ConfigError(
                f"TRAMO_INBOUND has {item!r}; it should look like orders=15100:8080/http, "
                f"with one of the protocols {', '.join(APP_PROTOCOLS)}"
            )
        ports = [_port("TRAMO_INBOUND", match[group]) for group in (2, 3)]
        services.append(InboundService(match[1], ports[0], ports[1], APP_PROTOCOLS[match[4]]))
    if len({service.ingress_port for service in services}) < len(services):
        raise ConfigError(f"TRAMO_INBOUND is {value!r}; two services have the same ingress port")
    return tuple(services)


def _address(values: dict[str, str], name: str) -> str:
    try:
        return str(ipaddress.ip_address(values[name]))
    except ValueError:
        raise ConfigError(f"{name} is {values[name]!r}; it should be an IP address") from None


def _network(value: str, redirected: bool) -> ipaddress.IPv4Network:
    default, within = (_REDIRECTED, _RESERVED) if redirected else (_LISTENED, _LOOPBACK)
    try:
        network = ipaddress.IPv4Network(value) if value else default
    except ValueError as error:
        raise ConfigError(f"TRAMO_VIP_NETWORK is {value!r}: {error}") from None
    if network.prefixlen != 16 or not network.subnet_of(within):
        mode = "with TRAMO_REDIRECT" if redirected else "without TRAMO_REDIRECT"
        raise ConfigError(f"TRAMO_VIP_NETWORK is {value!r}; {mode} it should be a /16 within {within}")
    return network


def _socket(values: dict[str, str], name: str) -> tuple[str, int]:
    host, _, port = values[name].rpartition(":")
    try:
        return str(ipaddress.ip_address(host)), _port(name, port)
    except ValueError:
        raise ConfigError(f"{name} is {values[name]!r}; it should look like 127.0.0.1:9901") from None


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or not 0 < int(value) < 65536:
        raise ConfigError(f"{name} has the port {value!r}; it should be between 1 and 65535")
    return int(value)


def _seconds(values: dict[str, str], name: str) -> float:
    try:
        seconds = float(values[name])
    except ValueError:
        seconds = -1.0
    if not 0.0 < seconds <= 86_400.0:
        raise ConfigError(f"{name} is {values[name]!r}; it should be a number of seconds above 0, at most 86400")
    return seconds


def _share(values: dict[str, str], name: str) -> float:
    try:
        share = float(values[name])
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"{name} is {values[name]!r}; it should be a share between 0 and 1, such as 0.05")
    return share


def _headers(value: str) -> tuple[bytes, ...]:
    names = sorted({part.strip().lower() for part in value.split(",")} - {""})
    for name in names:
        if _HEADER.fullmatch(name) is None:
            raise ConfigError(f"TRAMO_ACCESS_LOG_HEADERS has {name!r}; it should look like x-tenant,content-type")
        if name in _SECRETS:
            raise ConfigError(f"TRAMO_ACCESS_LOG_HEADERS has {name!r}, which carries a secret; leave it out")
    if len(names) > _MAX_HEADERS:
        raise ConfigError(f"TRAMO_ACCESS_LOG_HEADERS has {len(names)} names; it should have at most {_MAX_HEADERS}")
    return tuple(name.encode() for name in names)


def _daemon(value: str) -> tuple[str, int]:
    """Return the daemon's UDP address: `host:port`, or `tcp:host:port udp:host:port` as X-Ray's SDKs take it too."""
    parts = value.split()
    chosen = next((part for part in parts if part.startswith("udp:")), parts[0]).removeprefix("udp:")
    host, _, port = chosen.rpartition(":")
    if not host or host.startswith("tcp:"):
        raise ConfigError(f"AWS_XRAY_DAEMON_ADDRESS is {value!r}; it should look like 127.0.0.1:2000")
    return host, _port("AWS_XRAY_DAEMON_ADDRESS", port)


def _choice(values: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    if values[name] not in choices:
        raise ConfigError(f"{name} is {values[name]!r}; it should be one of {', '.join(choices)}")
    return values[name]


def _path(value: str) -> str | None:
    return None if value == "off" else value
