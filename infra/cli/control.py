"""The client's side of the control socket of a running `tramo up`."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.settings import LocalError

ANSWER_SECONDS = 30.0


class NotUpError(LocalError):
    """No cluster is up."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ControlClient:
    """Asks and tells the local cluster."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> dict[str, Any]:
        """Return what the cluster says about itself. Raises LocalError if none is up."""
        return self.call("GET", "/status")

    def call(self, method: str, path: str) -> dict[str, Any]:
        """Send a command. Raises NotUpError if no cluster is up, LocalError if it refuses or does not answer."""
        connection = _UnixConnection(self._path)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = json.loads(answer.read() or b"{}")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            message = f"no cluster is up (nobody listens on {self._path}): start one with tramo up DIRECTORY"
            raise NotUpError(message) from error
        except TimeoutError as error:
            raise LocalError(f"the cluster has not answered within {ANSWER_SECONDS:g} s: it is up, but busy") from error
        except OSError as error:
            raise LocalError(f"{self._path}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise LocalError(str(body.get("message", f"the cluster answered {answer.status}")))
        if not isinstance(body, Mapping):
            raise LocalError(f"the cluster's answer is not an object: {body!r}")
        return dict(body)

    def is_up(self) -> bool:
        """Say whether somebody listens."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._path)) == 0
