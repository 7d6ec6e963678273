"""The apps that are deployed: our own with its three ways of stopping, and servers of production in their default way.

Each is the app containers of a task that serves HTTP on 8080, gRPC on 9090 and TCP on 7000. Servers of production speak
HTTP, with grpcio for gRPC, or gRPC, as grpc-java does. TCP is then redis-server's, which ends its sessions when it is
told to stop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.rolling.server import GRPC_PORT, HTTP_PORT, TCP_PORT, Stop

HERE: Final = Path(__file__).parent
REPOSITORY: Final = HERE.parents[1]

_SERVER: Final = ("python", str(HERE / "server.py"))
_REDIS: Final = ("redis-server", "--port", str(TCP_PORT), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "")
_BESIDE: Final = {"grpc": (*_SERVER, Stop.ORDINARY, "grpc"), "redis": _REDIS}
_PYTHON_APPS: Final = "tests.rolling.python_apps"

APPS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    **{stop: {"app": (*_SERVER, stop)} for stop in Stop},
    "gunicorn": {
        "app": (
            *("python", "-m", "gunicorn", "--chdir", str(REPOSITORY), "--bind", f"0.0.0.0:{HTTP_PORT}"),
            *("--threads", "16", f"{_PYTHON_APPS}:wsgi"),
        ),
        **_BESIDE,
    },
    "uvicorn": {
        "app": (
            *("python", "-m", "uvicorn", "--app-dir", str(REPOSITORY), "--host", "0.0.0.0", "--port", str(HTTP_PORT)),
            *("--no-access-log", f"{_PYTHON_APPS}:asgi"),
        ),
        **_BESIDE,
    },
    "node": {"app": ("node", str(HERE / "node_app.js")), **_BESIDE},
    "java": {
        "app": (*_SERVER, Stop.ORDINARY, "http"),
        "grpc": ("java", "-cp", "/usr/share/java/*", str(HERE / "GrpcApp.java")),
        "redis": _REDIS,
    },
}
"""The commands of the app containers by their names."""


def speaks_redis(app: str) -> bool:
    """Say whether the app's TCP sessions are redis's."""
    return "redis" in APPS[app]


__all__ = ["APPS", "GRPC_PORT", "HTTP_PORT", "TCP_PORT", "speaks_redis"]
