"""The API's description, generated from Chalice's routes; the schemas of its bodies are in `body_schemas`.

The routes say which paths and methods there are, the views' docstrings what they do; `_OPERATIONS` adds what
neither knows. A route that is not in it fails the tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from api import requests
from api.body_schemas import all_schemas
from registry.domain.lineage import VERSION_PATTERN
from registry.domain.offer import NAME_PATTERN, NAMESPACE_PATTERN


def _query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _header(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": schema, "description": description}


_PATH_PARAMETERS: Final[Mapping[str, Any]] = {
    "namespace": {"type": "string", "pattern": f"^(?:{NAMESPACE_PATTERN.pattern})$"},
    "service": {"type": "string", "pattern": f"^(?:{NAME_PATTERN.pattern})$"},
    "task": {"type": "string", "pattern": f"^(?:{requests.TASK_ID_PATTERN.pattern})$"},
    "question": {"type": "string", "pattern": f"^(?:{requests.QUESTION_PATTERN.pattern})$"},
}

# As in `requests.names`, which also bounds their number.
_ONE_NAME: Final = rf"\s*(?:{NAME_PATTERN.pattern})?\s*"
_SERVICE_NAMES: Final = {"type": "string", "pattern": f"^{_ONE_NAME}(?:,{_ONE_NAME})*$"}
_NEXT: Final = {"type": "string", "pattern": f"^(?:{NAME_PATTERN.pattern})?$"}
_POLICY_TAG: Final = {"type": "string", "pattern": rf"^(?:\*|{requests.ETAG.pattern})$"}
_OWNERS_TAG: Final = {"type": "string", "pattern": rf"^(?:\*|{requests.PART_ETAG.pattern})$"}

_ETAG: Final = {
    "ETag": {
        "required": True,
        "schema": {"type": "string", "pattern": '^"(?:[0-9a-f]+-)?[0-9a-f]+"$'},
        "description": "For If-None-Match and, where there is such a header, If-Match.",
    }
}
_POLL_SECONDS: Final = {
    "Tramo-Poll-Seconds": {
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "description": "When to ask again.",
    }
}
_MESH: Final = {
    "Tramo-Mesh": {
        "required": True,
        "schema": {"type": "string"},
        "description": "Whose API answers: the stack's parameter Mesh.",
    }
}

_IF_NONE_MATCH: Final = _header("If-None-Match", "The ETag of the answer that the reader has.", {"type": "string"})

_PAGE_OF_FINDINGS: Final = (
    _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": requests.LARGEST_PAGE, "default": requests.DEFAULT_PAGE},
        "Most findings in the answer.",
    ),
    _query(
        "next",
        {"type": "string", "pattern": f"^(?:{requests.FINDING_KEY_PATTERN.pattern})?$"},
        "The `next` of the page before; none or an empty one asks for the first page.",
    ),
    _IF_NONE_MATCH,
)

# operation -> (schema of the answer, status, further statuses, parameters, schema of the body)
_OPERATIONS: Final[Mapping[str, tuple[str | None, int, tuple[int, ...], tuple[dict[str, Any], ...], str | None]]] = {
    "get_health": ("Status", 200, (304,), (_IF_NONE_MATCH,), None),
    "get_openapi": ("Description", 200, (304,), (_IF_NONE_MATCH,), None),
    "get_namespaces": ("Namespaces", 200, (304,), (_IF_NONE_MATCH,), None),
    "get_services": (
        "Services",
        200,
        (304, 400, 404, 503),
        (
            _query(
                "limit",
                {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": requests.LARGEST_PAGE,
                    "default": requests.DEFAULT_PAGE,
                },
                "Most services in the answer.",
            ),
            _query("next", _NEXT, "The `next` of the page before; none or an empty one asks for the first page."),
            _IF_NONE_MATCH,
        ),
        None,
    ),
    "get_general_findings": ("Findings", 200, (304, 400), _PAGE_OF_FINDINGS, None),
    "get_findings": ("Findings", 200, (304, 400), _PAGE_OF_FINDINGS, None),
    "get_service": ("Service", 200, (304, 400, 404, 503), (_IF_NONE_MATCH,), None),
    "delete_service": (None, 204, (400, 404, 409, 503), (), None),
    "get_policy": ("Policy", 200, (304, 400, 404), (_IF_NONE_MATCH,), None),
    "put_policy": (
        "Policy",
        200,
        (400, 404, 412, 413, 415, 422),
        (_header("If-Match", "Write only if the policy still has this ETag.", _POLICY_TAG),),
        "Policy",
    ),
    "delete_policy": (
        None,
        204,
        (400, 404, 412),
        (_header("If-Match", "Remove only if the policy still has this ETag.", _POLICY_TAG),),
        None,
    ),
    "get_owners": ("Owners", 200, (304, 400, 404), (_IF_NONE_MATCH,), None),
    "put_owners": (
        "Owners",
        200,
        (400, 404, 412, 413, 415, 422),
        (_header("If-Match", "Write only if nobody has changed who may offer it since this ETag.", _OWNERS_TAG),),
        "Allowed",
    ),
    "get_rules": ("Rules", 200, (304, 400), (_IF_NONE_MATCH,), None),
    "put_rules": (
        "Rules",
        200,
        (400, 412, 413, 415, 422),
        (_header("If-Match", "Write only if the rules still have this ETag.", _POLICY_TAG),),
        "Rules",
    ),
    "get_snapshot": (
        "Snapshot",
        200,
        (304, 400, 404, 406, 413, 503),
        (
            _query(
                "since",
                {
                    "type": "string",
                    "pattern": f"^{VERSION_PATTERN.pattern}$",
                },
                "Epoch and revision, as in the ETag: answer only what changed since, if that is still known.",
            ),
            _query("services", _SERVICE_NAMES, "Names, separated by commas: answer only these."),
            _IF_NONE_MATCH,
        ),
        None,
    ),
    "post_question": ("Asked", 201, (400, 404, 413, 415, 422, 429), (), "Question"),
    "get_answers": (
        "Answers",
        200,
        (304, 400, 404),
        (
            _query(
                "next",
                {"type": "string", "pattern": f"^(?:{requests.ANSWER_PLACE_PATTERN.pattern})?$"},
                "The `next` of the page before; none or an empty one asks for the first page.",
            ),
            _IF_NONE_MATCH,
        ),
        None,
    ),
    "post_answer": ("HealthOutcome", 200, (400, 403, 404, 413, 415), (), "Answer"),
    "get_task": ("Task", 200, (304, 400, 404), (_IF_NONE_MATCH,), None),
    "post_task_health": ("HealthOutcome", 200, (400, 403, 404, 413, 415, 422, 503), (), "Health"),
}

_STATUS_TEXT: Final = {
    200: "Done.",
    201: "Asked.",
    204: "Done, nothing to say.",
    304: "The reader has what is in the ETag.",
    400: "A parameter or the body's form is wrong.",
    403: "The caller is another task.",
    404: "There is no such namespace, service or task.",
    406: "The answer is too large for a client that takes no gzip.",
    409: "The service has tasks.",
    412: "The resource has changed since the reader saw it.",
    413: "The body, or the answer, is too large.",
    415: "The body is not application/json.",
    422: "The body is not valid.",
    429: "Too many questions are open; try again.",
    503: "Busy; try again.",
}


def describe(routes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the OpenAPI document of a Chalice application's routes."""
    paths: dict[str, Any] = {}
    for path, methods in sorted(routes.items()):
        paths[path] = {
            method.lower(): _operation(path, entry.view_function, entry.authorizer is not None)
            for method, entry in sorted(methods.items())
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tramo",
            "version": "1",
            "description": "Snapshots for sidecars; services and their policies for people and tools.",
        },
        "paths": paths,
        "components": {"schemas": all_schemas(), "securitySchemes": {"sigv4": _SIGV4}},
    }


_SIGV4: Final = {
    "type": "apiKey",
    "name": "Authorization",
    "in": "header",
    "description": "AWS Signature Version 4, service execute-api.",
    "x-amazon-apigateway-authtype": "awsSigv4",
}


def _operation(path: str, view: Any, needs_credentials: bool) -> dict[str, Any]:
    name = view.__name__
    answer, status, further, parameters, body = _OPERATIONS[name]
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": (view.__doc__ or "").strip().splitlines()[0],
        "parameters": [
            {"name": field, "in": "path", "required": True, "schema": _PATH_PARAMETERS[field]}
            for field in re.findall(r"{(\w+)}", path)
        ]
        + list(parameters),
        "responses": {str(status): _response(name, status, answer)}
        | {str(each): _response(name, each, None if each == 304 else "Problem") for each in further},
        "security": [{"sigv4": []}] if needs_credentials else [],
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}},
        }
    return operation


def _response(name: str, status: int, schema: str | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": _STATUS_TEXT[status]}
    if status < 400 and name != "delete_service" and not name.startswith("post_"):
        response["headers"] = _ETAG | _MESH | (_POLL_SECONDS if name == "get_snapshot" else {})
    if schema is not None:
        kind = "application/problem+json" if schema == "Problem" else "application/json"
        response["content"] = {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return response
