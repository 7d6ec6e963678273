"""API Gateway in front of the Api function, without HTTP: events of a REST API's proxy integration."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.wire.answer_server import AnswerServer, Request, Response

USER = "arn:aws:iam::123456789012:user/operator"


def session(name: str, role: str = "orders") -> str:
    """Return the ARN of a role's session, as a task's credentials have it."""
    return f"arn:aws:sts::123456789012:assumed-role/{role}/{name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets: header names in lower case, the body unpacked."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json_body(self) -> Any:
        return json.loads(self.body)


class Gateway:
    """Calls the function as API Gateway does."""

    def __init__(self, handler: Callable[[Any, Any], Any], context: Any, routes: Mapping[str, Any]) -> None:
        self._handler = handler
        self._context = context
        self._routes = [(path, re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))) for path in sorted(routes)]
        self.last: dict[str, Any] = {}
        """The function's last result, as API Gateway gets it."""

    def call(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        caller: str | None = USER,
        binary: bool = True,
    ) -> Answer:
        """Return the answer to a request; with `binary` bodies are in base64, as `BinaryMediaTypes: */*` has them."""
        split = urlsplit(url)
        found = [(path, match) for path, pattern in self._routes if (match := pattern.fullmatch(split.path))]
        resource, parameters = (found[0][0], found[0][1].groupdict()) if found else (split.path, {})
        text = None
        if body is not None:
            text = base64.b64encode(body).decode() if binary else body.decode()
        event = {
            "resource": resource,
            "path": split.path,
            "httpMethod": method,
            "headers": dict(headers or {}),
            "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()},
            "multiValueQueryStringParameters": parse_qs(split.query, keep_blank_values=True) or None,
            "pathParameters": {name: unquote(value) for name, value in parameters.items()} or None,
            "stageVariables": None,
            "requestContext": {
                "requestId": "r-1",
                "resourcePath": resource,
                "httpMethod": method,
                "identity": {"userArn": caller, "sourceIp": "192.0.2.1"},
            },
            "body": text,
            "isBase64Encoded": body is not None and binary,
        }
        self.last = self._handler(event, self._context)
        return answer(self.last)


def answer(result: Mapping[str, Any]) -> Answer:
    """Return a function's result as its client sees it."""
    headers = {name.lower(): str(value) for name, value in (result.get("headers") or {}).items()}
    for name, values in (result.get("multiValueHeaders") or {}).items():
        headers[name.lower()] = ", ".join(values)
    text = result.get("body") or ""
    raw = base64.b64decode(text) if result.get("isBase64Encoded") else text.encode()
    if headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    return Answer(result["statusCode"], headers, raw)


@contextmanager
def serving(gateway: Gateway, caller: str = USER) -> Iterator[str]:
    """Yield the URL of an HTTP server that answers by the gateway, on a free port of 127.0.0.1; `caller` calls."""

    def respond(request: Request) -> Response:
        found = gateway.call(request.method, request.target, request.body or None, request.fields, caller)
        # `answer` has unpacked the body, and the server adds its length.
        fields = {k: v for k, v in found.headers.items() if k not in ("content-encoding", "content-length")}
        return Response(found.status_code, fields, found.body)

    with AnswerServer(respond) as server:
        yield server.origin
