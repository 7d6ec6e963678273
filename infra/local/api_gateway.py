"""API Gateway's REST API in front of the Api function: routes, IAM, the proxy event, compression.

What is imitated is what the function and its clients can see ("Lambda proxy integrations" and "Payload
compression" in the API Gateway developer guide):

1. The routes are those of the template. Anything else is 403 "Missing Authentication Token", as in AWS.
2. A route that is not open wants a valid Signature Version 4.
3. An answer of at least MinimumCompressionSize bytes is gzipped for clients that accept it.
4. A function that fails, or whose result is not a proxy response, is 502 "Internal server error".

`away` and `back` close and open the port: while it is away, connections are refused.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from infra.local.eventbus import Invocable
from infra.local.functions import FunctionError
from infra.local.httpserver import HttpServer, Request, Response
from infra.local.identity import Identity
from infra.local.settings import ACCOUNT
from infra.local.signature import SignatureError, verify
from infra.local.template import Route

_API_ID: Final = "localtramo"
_LEVEL: Final = 6  # of gzip


@dataclass(frozen=True, slots=True)
class _Match:
    route: Route
    parameters: Mapping[str, str]


class Router:
    """Finds the route of a path. Fixed segments win over parameters, as in API Gateway."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        ordered = sorted(routes, key=lambda route: route.path.count("{"))
        self._routes = [(route, _expression(route.path)) for route in ordered]

    def find(self, method: str, path: str) -> _Match | None:
        """Return the route and the values of its path parameters."""
        for route, expression in self._routes:
            if route.method == method and (found := expression.fullmatch(path)):
                return _Match(route, {name: unquote(value) for name, value in found.groupdict().items()})
        return None


def _expression(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def proxy_event(
    request: Request, match: _Match, *, path: str, stage: str, caller: Identity | None, now: datetime
) -> dict[str, Any]:
    """Return the event of a Lambda proxy integration, payload format 1.0."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.title(), []).append(value)
    query: dict[str, list[str]] = {}
    for name, value in request.query:
        query.setdefault(name, []).append(value)
    access_key = caller.access_key if caller else None
    return {
        "resource": match.route.path,
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": dict(match.parameters) or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": _API_ID,
            "resourceId": "local",
            "resourcePath": match.route.path,
            "httpMethod": request.method,
            "path": f"/{stage}{path}",
            "protocol": "HTTP/1.1",
            "stage": stage,
            "domainName": request.header("host"),
            "requestId": str(uuid.uuid4()),
            "extendedRequestId": uuid.uuid4().hex[:16],
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "identity": {
                "accessKey": access_key,
                "accountId": ACCOUNT if access_key else None,
                "caller": access_key,
                "user": access_key,
                "userArn": caller.arn if caller else None,
                "sourceIp": request.client,
                "userAgent": request.header("user-agent") or None,
            },
        },
        "body": request.body.decode("utf-8", "replace") if request.body else None,
        "isBase64Encoded": False,
    }


def render(result: object, *, accepts_gzip: bool, minimum_compression_size: int | None) -> Response:
    """Return the answer to the client. Raises ValueError if the result is not a proxy response."""
    if not isinstance(result, Mapping) or not isinstance(result.get("statusCode"), int):
        raise ValueError(f"not a proxy response: {str(result)[:200]}")
    headers = [(str(name), str(value)) for name, value in (result.get("headers") or {}).items()]
    for name, values in (result.get("multiValueHeaders") or {}).items():
        headers += [(str(name), str(value)) for value in values]
    headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    text = result.get("body") or ""
    body = base64.b64decode(text) if result.get("isBase64Encoded") else str(text).encode()
    names = {name.lower() for name, _ in headers}
    if (
        accepts_gzip
        and minimum_compression_size is not None
        and len(body) >= minimum_compression_size
        and "content-encoding" not in names
    ):
        body = gzip.compress(body, _LEVEL)
        headers.append(("Content-Encoding", "gzip"))
    return Response(result["statusCode"], body, tuple(headers))


def _refusal(status: int, message: str) -> Response:
    body = json.dumps({"message": message}).encode()
    return Response(status, body, (("Content-Type", "application/json"),))


class ApiGateway:
    """The REST API on a port of this machine."""

    def __init__(
        self,
        function: Invocable,
        *,
        stage: str,
        region: str,
        minimum_compression_size: int | None,
        host: str = "127.0.0.1",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._function = function
        self._router = Router(function.spec.routes)
        self._host = host
        self._stage = stage
        self._region = region
        self._minimum = minimum_compression_size
        self._clock = clock
        self._server = HttpServer(self.handle)
        self._port = 0
        self.is_away = True

    @property
    def url(self) -> str:
        """Return the address of the stage, as the template's output ApiUrl has it."""
        return f"http://{self._host}:{self._port}/{self._stage}"

    async def back(self) -> None:
        """Listen, always on the same port."""
        if self.is_away:
            self._port = await self._server.listen(self._host, self._port)
            self.is_away = False

    async def away(self) -> None:
        """Close every connection and refuse new ones."""
        await self._server.close()
        self.is_away = True

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        prefix = f"/{self._stage}"
        path = request.path.removeprefix(prefix) if request.path.startswith(f"{prefix}/") else ""
        match = self._router.find(request.method, path)
        if match is None:
            return _refusal(403, "Missing Authentication Token")
        now = datetime.fromtimestamp(self._clock(), UTC)
        caller = None
        if not match.route.open:
            try:
                caller = verify(request, self._region, now)
            except SignatureError as error:
                return _refusal(403, str(error))
        event = proxy_event(request, match, path=path, stage=self._stage, caller=caller, now=now)
        accepts_gzip = "gzip" in request.header("accept-encoding")
        try:
            result = await self._function.invoke(event)
            return render(result, accepts_gzip=accepts_gzip, minimum_compression_size=self._minimum)
        except (FunctionError, ValueError):
            return _refusal(502, "Internal server error")
