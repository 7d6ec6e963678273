"""Errors as RFC 9457 problem documents.

A view raises `Problem`; `as_problems` turns it into the answer, and turns Chalice's own errors into the same
form, so that a client sees one kind of error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from chalice.app import ChaliceUnhandledError, Response

CONTENT_TYPE: Final = "application/problem+json"


class Problem(ChaliceUnhandledError):  # noqa: N818 - RFC 9457's word
    """What is wrong with a request.

    `kind` is the last part of the problem's type, `field` the parameter, header or JSON path at fault.
    """

    def __init__(
        self, status: int, kind: str, detail: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.field = field
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the problem as an answer."""
        body: dict[str, Any] = {
            "type": f"urn:tramo:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        return Response(
            body=json.dumps(body),
            status_code=self.status,
            headers={"Content-Type": CONTENT_TYPE, **self.headers},
        )


# Chalice's names for its errors -> kinds of problems
_KINDS: Final = {
    "BadRequestError": "bad-request",
    "MethodNotAllowedError": "method-not-allowed",
    "UnsupportedMediaType": "unsupported-media-type",
    "InternalServerError": "internal-error",
}


def as_problems(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Chalice middleware: answer every error with a problem document."""
    try:
        response: Response = get_response(event)
    except Problem as problem:
        return problem.response()
    if response.status_code >= 400 and isinstance(response.body, dict):
        kind = _KINDS.get(str(response.body.get("Code")), "error")
        headers = {
            name: value
            for name, value in response.headers.items()
            if isinstance(value, str) and name.lower() != "content-type"
        }
        detail = str(response.body.get("Message", ""))
        return Problem(response.status_code, kind, detail, headers=headers).response()
    return response


def unanswered(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the problem document for an error of Chalice's that no middleware saw, None for other answers."""
    if result["statusCode"] < 400 or CONTENT_TYPE in _content_types(result):
        return None
    try:
        message = json.loads(result["body"]).get("Message")
    except (TypeError, ValueError, AttributeError):
        message = None
    answer: dict[str, Any] = (
        Problem(result["statusCode"], "internal-error", str(message or "the API failed; its log says why"))
        .response()
        .to_dict()
    )
    return answer


def _content_types(result: Mapping[str, Any]) -> list[str]:
    headers = {**result.get("headers", {}), **result.get("multiValueHeaders", {})}
    return [
        each
        for name, value in headers.items()
        if name.lower() == "content-type"
        for each in (value if isinstance(value, list) else [value])
    ]
