"""CloudFormation's answers about stacks that exist: the two calls that commands make.

moto's CloudFormation loads every other service of moto first, three seconds of processor time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

NAMESPACE: Final = "http://cloudformation.amazonaws.com/doc/2010-05-15/"


@dataclass(frozen=True, slots=True)
class Stack:
    """What a stack says of itself: physical names by logical ones, outputs and parameters."""

    resources: Mapping[str, str]
    outputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def cloudformation(stacks: Mapping[str, Stack]) -> Iterator[str]:
    """Yield the URL of a CloudFormation with these stacks."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, body = answer(stacks, asked["Action"][0], asked["StackName"][0])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="cloudformation", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def answer(stacks: Mapping[str, Stack], action: str, name: str) -> tuple[int, bytes]:
    """Return status and body of a call's answer."""
    stack = stacks.get(name)
    if stack is None:
        message = f"<Message>Stack with id {escape(name)} does not exist</Message>"
        error = f"<Type>Sender</Type><Code>ValidationError</Code>{message}"
        return 400, f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error></ErrorResponse>'.encode()
    moment = "2026-11-22T12:00:00Z"
    if action == "DescribeStacks":
        parts = (
            _members("Parameters", "Parameter", stack.parameters),
            _members("Outputs", "Output", stack.outputs),
            f"<StackName>{escape(name)}</StackName><StackStatus>CREATE_COMPLETE</StackStatus>",
            f"<CreationTime>{moment}</CreationTime>",
        )
        result = f"<Stacks><member>{''.join(parts)}</member></Stacks>"
    elif action == "ListStackResources":
        members = (
            f"<member><LogicalResourceId>{escape(logical)}</LogicalResourceId>"
            f"<PhysicalResourceId>{escape(physical)}</PhysicalResourceId></member>"
            for logical, physical in stack.resources.items()
        )
        result = f"<StackResourceSummaries>{''.join(members)}</StackResourceSummaries>"
    else:
        raise NotImplementedError(action)
    found = f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{result}</{action}Result></{action}Response>'
    return 200, found.encode()


def _members(group: str, kind: str, values: Mapping[str, str]) -> str:
    members = (
        f"<member><{kind}Key>{escape(key)}</{kind}Key><{kind}Value>{escape(value)}</{kind}Value></member>"
        for key, value in values.items()
    )
    return f"<{group}>{''.join(members)}</{group}>"
