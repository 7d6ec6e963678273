"""The services behind the proxies: nginx for HTTP/1.1 and TCP, nghttpd for HTTP/2 and gRPC, on four addresses each.

gRPC by nghttpd: a unary answer is a body of seven bytes (a frame's five and an empty message field) with the trailer
`grpc-status: 0`; a file of that content, its MIME type and `--trailer` make one. streams.py serves streaming calls.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tests.benchmarks.processes import Program

ENDPOINTS: Final = 4
PORT: Final = 8080
GRPC_MESSAGE: Final = b"\x00\x00\x00\x00\x02\x10\x0a"
GRPC_PATH: Final = "/grpc.testing.TestService/UnaryCall.grpc"
SIZES: Final = {"100": 100, "10k": 10_240, "1m": 1_048_576}
"""Path of a body to its bytes."""

_NGINX: Final = """
daemon off; master_process off; pid {directory}/server.pid; error_log stderr error;
worker_processes 1;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; tcp_nopush on;
  open_file_cache max=16 inactive=1h; client_body_temp_path {directory}/server_body;
  proxy_temp_path {directory}/t1; fastcgi_temp_path {directory}/t2; uwsgi_temp_path {directory}/t3;
  scgi_temp_path {directory}/t4;
  server {{
{listens}
    root {directory}/files;
    location = /100 {{ return 200 "{small}"; }}
  }}
}}
"""


def addresses(prefix: str, block: int) -> tuple[tuple[str, int], ...]:
    """Where the endpoints of one server are."""
    return tuple((f"{prefix}.{block}.{number}", PORT) for number in range(1, ENDPOINTS + 1))


def write_files(directory: Path) -> None:
    """Lay out what the servers serve."""
    files = directory / "files"
    message = files / GRPC_PATH[1:]
    message.parent.mkdir(parents=True)
    message.write_bytes(GRPC_MESSAGE)
    for name, size in SIZES.items():
        (files / name).write_bytes(b"x" * size)
    (directory / "mime.types").write_text("application/grpc grpc\n")


def http1(directory: Path, where: tuple[tuple[str, int], ...], cpu: int) -> list[Program]:
    """One nginx on all addresses."""
    listens = "\n".join(f"    listen {address}:{port} backlog=4096;" for address, port in where)
    config = directory / "server.conf"
    config.write_text(_NGINX.format(directory=directory, listens=listens, small="x" * SIZES["100"]))
    program = Program(["nginx", "-p", directory, "-c", config], cpu, directory / "server.log")
    return [program]


def streaming(directory: Path, where: tuple[tuple[str, int], ...], cpu: int) -> list[Program]:
    """One program that echoes the messages of gRPC calls, on all addresses."""
    addresses = [f"{host}:{port}" for host, port in where]
    command = [sys.executable, "-m", "tests.benchmarks.streams", "serve", *addresses]
    return [Program(command, cpu, directory / "streams.log", directory=Path(__file__).parents[2])]


def http2(directory: Path, where: tuple[tuple[str, int], ...], cpu: int, grpc: bool = False) -> list[Program]:
    """An nghttpd for each address."""
    options = [f"--mime-types-file={directory / 'mime.types'}", "--trailer=grpc-status: 0"] if grpc else []
    return [
        Program(
            ["nghttpd", "--no-tls", "-a", address, "-d", directory / "files", *options, str(port)],
            cpu,
            directory / "nghttpd.log",
        )
        for address, port in where
    ]
