"""nginx and HAProxy, the proxies to be measured by where they speak the protocol: one process with one thread each.

Retries, passive outlier detection and connection reuse stand as near to the sidecar's as each of them can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.benchmarks.control_plane import Service
from tests.benchmarks.processes import Program

_NGINX: Final = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr error;
worker_processes 1;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  http2_max_concurrent_streams 128; proxy_max_temp_file_size 0;
  client_body_temp_path {directory}/n0; proxy_temp_path {directory}/n1; fastcgi_temp_path {directory}/n2;
  uwsgi_temp_path {directory}/n3; scgi_temp_path {directory}/n4;
  upstream endpoints {{
    least_conn; keepalive 128; keepalive_requests 1000000000;
{servers}
  }}
  server {{
    listen {address}:{port}{options} backlog=4096;
    location / {{
{forward}
    }}
  }}
}}
"""
_NGINX_HTTP: Final = """
      proxy_pass http://endpoints; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Request-Id $request_id;
      proxy_next_upstream error timeout http_502 http_503 http_504; proxy_next_upstream_tries 3;
      proxy_connect_timeout 1s; proxy_read_timeout 15s;
"""
_NGINX_GRPC: Final = """
      client_max_body_size 0;
      grpc_pass grpc://endpoints; grpc_set_header X-Request-Id $request_id;
      grpc_next_upstream error timeout http_502 http_503 http_504;
      grpc_next_upstream_tries 3; grpc_connect_timeout 1s; grpc_read_timeout 15s;
"""

_HAPROXY: Final = """
global
  nbthread 1
  maxconn 4096
defaults
  mode {mode}
  timeout connect 1s
  timeout client 300s
  timeout server 15s
  retries 2
  option redispatch
frontend service
  bind {address}:{port}{options}
{request_id}
  default_backend endpoints
backend endpoints
  balance leastconn
  default-server{options} check inter 10s{observe}
{servers}
"""
_REQUEST_ID: Final = "  http-request set-header x-request-id %[uuid] unless { req.hdr(x-request-id) -m found }"
_OBSERVE: Final = " observe layer7 error-limit 5 on-error mark-down"


def start_nginx(directory: Path, cpu: int, address: str, port: int, service: Service) -> Program:
    """nginx in front of the service, HTTP/1.1 or gRPC."""
    grpc = service.protocol == "grpc"
    config = directory / "nginx.conf"
    options = "max_fails=5 fail_timeout=30s"
    config.write_text(
        _NGINX.format(
            directory=directory,
            address=address,
            port=port,
            options=" http2" if grpc else "",
            forward=_NGINX_GRPC if grpc else _NGINX_HTTP,
            servers="\n".join(f"    server {host}:{at} {options};" for host, at in service.endpoints),
        )
    )
    return Program(["nginx", "-p", directory, "-c", config], cpu, directory / "nginx.log")


def start_haproxy(directory: Path, cpu: int, address: str, port: int, service: Service) -> Program:
    """HAProxy in front of the service, any protocol."""
    config = directory / "haproxy.cfg"
    endpoints = enumerate(service.endpoints)
    config.write_text(
        _HAPROXY.format(
            address=address,
            port=port,
            mode="tcp" if service.protocol == "tcp" else "http",
            options=" proto h2" if service.protocol in ("http2", "grpc") else "",
            request_id="" if service.protocol == "tcp" else _REQUEST_ID,
            observe="" if service.protocol == "tcp" else _OBSERVE,
            servers="\n".join(f"  server e{index} {host}:{at}" for index, (host, at) in endpoints),
        )
    )
    return Program(["haproxy", "-db", "-q", "-f", config], cpu, directory / "haproxy.log")
