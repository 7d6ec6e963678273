"""The API's description, generated from Chalice's routes and the registry's schemas.

The routes say which paths and methods there are, the views' docstrings what they do; `_OPERATIONS` adds what
neither knows. A route that is not in it fails the tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from api import asking, reports, requests
from registry.domain.lineage import VERSION_PATTERN
from registry.domain.offer import APP_PROTOCOLS, NAME_PATTERN, NAMESPACE_PATTERN
from registry.domain.questions import LONGEST_SECONDS, MOST_NAMED, Subject
from registry.domain.reports import MOST_FINDINGS, Level
from registry.domain.rules import State

_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
    },
}

_OWNERS: Final = {
    "owners": {
        "type": "array",
        "items": {"type": "string"},
        "description": "The ECS service and the task role that claimed the name first.",
    },
    "allowed": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Who may offer the service besides, by an operator's word.",
    },
    "refused": {
        "type": "array",
        "items": {"$ref": "#/components/schemas/RefusedClaim"},
        "description": "Claims that were refused in the last week.",
    },
}

_SCHEMAS: Final[Mapping[str, Any]] = {
    "Problem": _PROBLEM,
    "Health": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {
                "enum": list(reports.HEALTH_STATUSES),
                "description": "As ECS holds the task; UNKNOWN says nothing of it.",
            },
            "observed_at": {"type": "string", "format": "date-time", "description": "Since when; absent: now."},
            "desired_status": {
                "enum": list(reports.DESIRED_STATUSES),
                "description": "DesiredStatus of the task metadata. After STOPPED the task is draining for good.",
            },
            "findings": {
                "type": "array",
                "maxItems": MOST_FINDINGS,
                "items": {"$ref": "#/components/schemas/Finding"},
                "description": "All mistakes that the sidecar sees now; absent: those it reported last.",
            },
        },
    },
    "Finding": {
        "type": "object",
        "required": ["code", "level", *reports.TEXTS],
        "properties": {
            "code": {"type": "string", "pattern": f"^{reports.CODE_PATTERN.pattern}$"},
            "level": {"enum": [each.value for each in Level]},
            **{name: {"type": "string", "minLength": 1, "maxLength": most} for name, most in reports.TEXTS.items()},
        },
    },
    "Findings": {
        "type": "object",
        "required": ["findings", "next"],
        "properties": {
            "findings": {
                "type": "array",
                "items": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Finding"},
                        {
                            "type": "object",
                            "required": ["resource", "since"],
                            "properties": {
                                "resource": {
                                    "type": "string",
                                    "description": "What it is about: svc/NAME or taskdef/FAMILY:REVISION.",
                                },
                                "since": {"$ref": "#/components/schemas/time"},
                            },
                        },
                    ]
                },
            },
            "next": {"type": ["string", "null"], "description": "Pass it as `next` to get the next page."},
        },
    },
    "Question": {
        "type": "object",
        "required": ["subject"],
        "additionalProperties": False,
        "properties": {
            "subject": {"enum": [each.value for each in Subject]},
            "seconds": {
                "type": "number",
                "minimum": 1,
                "maximum": LONGEST_SECONDS,
                "default": asking.DEFAULT_SECONDS,
                "description": "How long it stands.",
            },
            "service": {
                "type": "string",
                "pattern": f"^(?:{NAME_PATTERN.pattern})?$",
                "description": "Only tasks that offer this service.",
            },
            "tasks": {
                "type": "array",
                "maxItems": MOST_NAMED,
                "items": {"type": "string", "pattern": f"^(?:{requests.TASK_ID_PATTERN.pattern})$"},
                "description": "Only these tasks: their ids, or beginnings of ids.",
            },
            "filters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    name: {"type": "string", "minLength": 1, "maxLength": asking.LONGEST_FILTER}
                    for name in asking.FILTERS
                },
                "description": "Of `tap`: only requests with this method, path prefix, authority or called service. "
                "Of `stat`: the seconds that counts are of, 15 to 60.",
            },
        },
    },
    "Asked": {
        "type": "object",
        "required": ["id", "subject", "service", "until", "asked"],
        "properties": {
            "id": {"type": "string"},
            "subject": {"enum": [each.value for each in Subject]},
            "service": {"type": "string"},
            "until": {"$ref": "#/components/schemas/time"},
            "asked": {"type": "array", "items": {"type": "string"}, "description": "Living tasks that shall answer."},
        },
    },
    "Answer": {"type": ["object", "array", "string", "number", "boolean", "null"]},
    "Answers": {
        "type": "object",
        "required": ["answers", "next"],
        "properties": {
            "answers": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["task", "at", "answer"],
                    "properties": {"task": {"type": "string"}, "at": {"$ref": "#/components/schemas/time"}},
                },
            },
            "next": {"type": ["string", "null"], "description": "Pass it as `next` to get the next page."},
        },
    },
    "Task": {
        "type": "object",
        "required": ["id", "arn", "state", "since", "health", "services", "findings"],
        "properties": {
            "id": {"type": "string"},
            "arn": {"type": "string"},
            "state": {"enum": [each.value for each in State]},
            "since": {"$ref": "#/components/schemas/time"},
            "health": {"enum": list(reports.HEALTH_STATUSES)},
            "address": {"type": ["string", "null"]},
            "zone": {"type": ["string", "null"]},
            "task_definition": {"type": "string"},
            "group": {"type": ["string", "null"]},
            "deployment": {"type": ["string", "null"]},
            "services": {"type": "array", "items": {"$ref": "#/components/schemas/serviceName"}},
            "findings": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
        },
    },
    "HealthOutcome": {
        "type": "object",
        "required": ["outcome"],
        "properties": {"outcome": {"enum": ["applied", "unchanged", "stale", "ignored"]}},
    },
    "Status": {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}},
    "Description": {"type": "object", "required": ["openapi", "info", "paths"]},
    "Namespaces": {
        "type": "object",
        "required": ["namespaces"],
        "properties": {
            "namespaces": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
            }
        },
    },
    "Services": {
        "type": "object",
        "required": ["namespace", "revision", "services", "next"],
        "properties": {
            "namespace": {"type": "string"},
            "revision": {"type": "integer", "minimum": 1},
            "services": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "protocol", "vip", "revision", "aliases", "endpoints", "refused"],
                    "properties": {
                        "name": {"type": "string"},
                        "protocol": {"enum": list(APP_PROTOCOLS)},
                        "vip": {"type": "string"},
                        "revision": {"type": "integer"},
                        "aliases": {"type": "array", "items": {"$ref": "#/components/schemas/alias"}},
                        "endpoints": {
                            "type": "object",
                            "additionalProperties": {"type": "integer", "minimum": 1},
                            "description": "Number of endpoints by state.",
                        },
                        "refused": {"type": "array", "items": {"$ref": "#/components/schemas/RefusedClaim"}},
                    },
                },
            },
            "next": {"type": ["string", "null"], "description": "Pass it as `next` to get the next page."},
        },
    },
    "Service": {
        "allOf": [
            {"$ref": "#/components/schemas/service"},
            {
                "type": "object",
                "required": [
                    "conflicts",
                    "refused_aliases",
                    "owners",
                    "allowed",
                    "refused",
                    "policy_revision",
                    "policy_since",
                    "findings",
                    "ecs_service",
                    "history",
                ],
                "properties": {
                    "conflicts": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/Conflict"},
                        "description": "Aliases that the service wants and another one holds.",
                    },
                    "refused_aliases": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/alias"},
                        "description": "Aliases that the service wants and the namespace's rules do not allow.",
                    },
                    **_OWNERS,
                    "policy_revision": {"type": "integer", "minimum": 0, "description": "0: it never had a policy."},
                    "policy_since": {
                        "type": ["string", "null"],
                        "description": "When the policy was written last, null if it never was, or by an old release.",
                    },
                    "findings": {
                        "type": "array",
                        "items": {
                            "allOf": [
                                {"$ref": "#/components/schemas/Finding"},
                                {"type": "object", "required": ["task"], "properties": {"task": {"type": "string"}}},
                            ]
                        },
                        "description": "Mistakes that the sidecars of its tasks see, of some tasks if there are many.",
                    },
                    "ecs_service": {
                        "type": ["string", "null"],
                        "description": "cluster/name of the ECS service whose task declared it last.",
                    },
                    "history": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/ServiceEvent"},
                        "description": "What ECS said of the ECS service in the last week, newest first.",
                    },
                },
            },
        ]
    },
    "Owners": {"type": "object", "required": list(_OWNERS), "properties": _OWNERS},
    "RefusedClaim": {
        "type": "object",
        "required": ["claimant", "task_definition", "reason", "at"],
        "properties": {
            "claimant": {"type": "string", "description": "What to allow, if it shall be allowed."},
            "task_definition": {"type": "string"},
            "reason": {"type": "string"},
            "at": {"$ref": "#/components/schemas/time"},
        },
    },
    "Conflict": {
        "type": "object",
        "required": ["dns_name", "port", "holder"],
        "properties": {
            "dns_name": {"type": "string"},
            "port": {"$ref": "#/components/schemas/port"},
            "holder": {"$ref": "#/components/schemas/serviceName"},
        },
    },
    "ServiceEvent": {
        "type": "object",
        "required": ["at", "kind", "event", "level", "deployment", "reason"],
        "properties": {
            "at": {"$ref": "#/components/schemas/time"},
            "kind": {"enum": ["ECS Service Action", "ECS Deployment State Change"]},
            "event": {"type": "string", "description": "ECS's eventName, such as SERVICE_STEADY_STATE."},
            "level": {"type": "string", "description": "INFO, WARN or ERROR."},
            "deployment": {"type": ["string", "null"]},
            "reason": {"type": ["string", "null"]},
        },
    },
}


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
        "components": {"schemas": _schemas(), "securitySchemes": {"sigv4": _SIGV4}},
    }


_SIGV4: Final = {
    "type": "apiKey",
    "name": "Authorization",
    "in": "header",
    "description": "AWS Signature Version 4, service execute-api.",
    "x-amazon-apigateway-authtype": "awsSigv4",
}


def _schemas() -> dict[str, Any]:
    """Return all schemas; the snapshot's own definitions move beside it."""
    snapshot = _moved(requests.schema("snapshot"))
    definitions = snapshot.pop("$defs")
    bodies = {
        name: dict(requests.schema(file))
        for name, file in (("Policy", "policy"), ("Rules", "rules"), ("Allowed", "owners"))
    }
    for schema in (snapshot, *bodies.values()):
        schema.pop("$id", None)
        schema.pop("$schema", None)
    return {**_SCHEMAS, **definitions, "Snapshot": snapshot, **bodies}


def _moved(value: Any) -> Any:
    """Return a schema with its references pointing to the components."""
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_moved(item) for item in value]
    return value


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
