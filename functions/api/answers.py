"""What all answers have in common: JSON, entity tags, and a size that Lambda lets through.

Rules:
1. Every GET's answer has an ETag: the revision where there is one, else a digest of the body. Whoever sends it
   in If-None-Match gets 304.
2. Lambda answers with at most 6 MB, and the body counts as it stands in JSON, escaped. Bodies above
   `COMPRESSED_FROM_BYTES` are therefore compressed here, in base64 as API Gateway wants it (BinaryMediaTypes in
   the template); smaller ones are left to API Gateway, which compresses them outside of Lambda.
3. A client that takes no gzip is told so when the body is too large without.
4. Every answer says whose it is (`Tramo-Mesh`), so that a sidecar notices an API of another mesh than its label's.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from chalice.app import Response

from api import requests
from api.problems import Problem, unanswered

COMPRESSED_FROM_BYTES: Final = 1024 * 1024
# Of the 6 MB a third is left for escaping: JSON has a quote in about every tenth character.
LARGEST_PLAIN_BYTES: Final = 4 * 1024 * 1024
LARGEST_ENCODED_BYTES: Final = 6_000_000

# Fleets ask for the same document at the same time: ETag and body of the last one, compressed.
_last: dict[str, str] = {}


def with_etag(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Chalice middleware: make answers JSON texts with an ETag, and 304 for those who have them."""
    response: Response = get_response(event)
    if response.body == "" or response.status_code >= 400:
        return response
    if not isinstance(response.body, str):
        response.body = json.dumps(response.body, separators=(",", ":"))
    response.headers.setdefault("Content-Type", "application/json")
    if event.method == "GET":
        digest = hashlib.blake2b(response.body.encode(), digest_size=12)
        tag = str(response.headers.setdefault("ETag", f'"{digest.hexdigest()}"'))
        if requests.matches(event.headers.get("if-none-match"), tag):
            headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
            return Response("", status_code=304, headers=headers)
    return response


def of_mesh(result: Mapping[str, Any], mesh: str) -> dict[str, Any]:
    """Return an answer with the name of the mesh that gives it."""
    return {**result, "headers": {**(result.get("headers") or {}), "Tramo-Mesh": mesh}}


def finish(event: Mapping[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Return what goes to API Gateway: errors as problem documents, large bodies compressed."""
    problem = unanswered(result)
    if problem is not None:
        return problem
    body = result["body"]
    if not isinstance(body, str) or len(body) < COMPRESSED_FROM_BYTES:
        return result
    if "gzip" not in _header(event, "accept-encoding"):
        if len(body) < LARGEST_PLAIN_BYTES:
            return result
        detail = f"the answer has {len(body)} bytes; send Accept-Encoding: gzip, or ask for some services only"
        refused: dict[str, Any] = Problem(406, "too-large", detail, "Accept-Encoding").response().to_dict()
        return refused
    encoded = _compressed(body)
    if len(encoded) > LARGEST_ENCODED_BYTES:
        detail = f"the answer has {len(encoded)} bytes; ask for some services only (services=a,b)"
        too_large: dict[str, Any] = Problem(413, "too-large", detail, "services").response().to_dict()
        return too_large
    headers = {**result["headers"], "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return {**result, "headers": headers, "body": encoded, "isBase64Encoded": True}


def _compressed(body: str) -> str:
    """Return a body as base64 of its gzip form."""
    key = hashlib.blake2b(body.encode(), digest_size=16).hexdigest()
    if key not in _last:
        _last.clear()
        _last[key] = base64.b64encode(gzip.compress(body.encode(), 6, mtime=0)).decode()
    return _last[key]


def _header(event: Mapping[str, Any], wanted: str) -> str:
    headers = event.get("headers") or {}
    return next((str(value).lower() for name, value in headers.items() if name.lower() == wanted), "")
