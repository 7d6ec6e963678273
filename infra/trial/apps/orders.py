"""orders: answers every GET with its task and version. On SIGTERM it accepts no more, finishes, and exits."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080


def task_id() -> str:
    """Return the id of the task that this runs in, from the ECS task metadata endpoint."""
    with urllib.request.urlopen(f"{os.environ['ECS_CONTAINER_METADATA_URI_V4']}/task", timeout=5) as answer:  # noqa: S310
        arn: str = json.load(answer)["TaskARN"]
    return arn.rpartition("/")[2]


class Handler(BaseHTTPRequestHandler):
    """Answers."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    content = b"{}"

    def do_GET(self) -> None:
        """Say who answers."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Write no line for each request."""


def main() -> None:
    """Serve until SIGTERM."""
    Handler.content = json.dumps({"task": task_id(), "version": os.environ["VERSION"]}).encode()
    server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)  # noqa: S104 - in a container
    server.daemon_threads = False  # what is under way is finished
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
