"""The schemas of the API's bodies: answers and problems, written down here, and the registry's own documents.

The schemas of policies, rules, owners and snapshots are files, since the functions check by them what they take and
write. What only the API says is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api import asking, reports, requests
from registry.domain.offer import APP_PROTOCOLS, NAME_PATTERN
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


def all_schemas() -> dict[str, Any]:
    """Return all schemas by name; the snapshot's own definitions move beside it."""
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
