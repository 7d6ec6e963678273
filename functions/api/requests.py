"""Reading parameters, headers and bodies of requests. What is wrong becomes a Problem that names the field."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from api.problems import Problem
from registry.domain.lineage import Version, parse_version
from registry.domain.offer import NAME_PATTERN, NAMESPACE_PATTERN
from registry.domain.policies import normalised
from registry.domain.rules import TaskRecord

LARGEST_PAGE: Final = 500
DEFAULT_PAGE: Final = 100

# A policy and a health report are small; API Gateway itself takes up to 10 MB.
LARGEST_BODY_BYTES: Final = 16 * 1024
MOST_NAMES: Final = 500

_ROLE_SESSION: Final = re.compile(r"arn:[\w-]+:sts::(?P<account>[0-9]+):assumed-role/(?P<role>[^/]+)/(?P<session>.+)")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")  # int() refuses some thousands of digits in its own way
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
ETAG: Final = re.compile(r'"([0-9]{1,18})"')
PART_ETAG: Final = re.compile(r'"[0-9a-f]{1,64}-([0-9]{1,18})"')
FINDING_KEY_PATTERN: Final = re.compile(r"TRM[0-9]{4}#[A-Za-z0-9_/:.…-]{1,300}#[0-9a-f]{12}")
QUESTION_PATTERN: Final = re.compile(r"[0-9a-f]{16}")
ANSWER_PLACE_PATTERN: Final = re.compile(r"[A-Za-z0-9-]{1,64}#[0-9.]{1,17}")
TASK_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


def namespace_name(value: str) -> str:
    """Return a namespace from a path."""
    return _matching(value, NAMESPACE_PATTERN, "namespace", "letters, digits, ., _ and -")


def service_name(value: str) -> str:
    """Return a service's name from a path."""
    return _matching(value, NAME_PATTERN, "service", "1 to 64 of lower-case letters, digits, _ and -")


def task_id(value: str) -> str:
    """Return a task's id from a path."""
    return _matching(value, TASK_ID_PATTERN, "task", "the last part of the task's ARN")


def _matching(value: str, pattern: re.Pattern[str], field: str, rule: str) -> str:
    if not pattern.fullmatch(value):
        raise Problem(400, "bad-parameter", f"{field} {value!r} is not allowed; use {rule}", field)
    return value


def check_task(identity: Mapping[str, Any] | None, task: str) -> None:
    """Refuse a caller that is another task. `identity` is API Gateway's `requestContext.identity`.

    The credentials of an ECS task role are a session of the role that is named after the task's id. So a session
    may speak for the task of its name only, and nobody else for a task.
    """
    arn = str((identity or {}).get("userArn") or "")
    session = _ROLE_SESSION.fullmatch(arn)
    if session is not None and session["session"] == task:
        return
    caller = session["session"] if session else arn or "nobody"
    detail = (
        f"a task may only report its own health: the caller is {caller}, the report is of {task}; "
        "call with the task role's credentials, or turn the check off with the parameter TaskIdentity"
    )
    raise Problem(403, "not-this-task", detail, "task")


def check_role(identity: Mapping[str, Any] | None, task: TaskRecord) -> None:
    """Refuse a session that is not of the task's own role; `check_task` has passed it.

    Whoever may assume any role names the session as he likes, so the name alone proves nothing.
    """
    session = _ROLE_SESSION.fullmatch(str((identity or {}).get("userArn") or ""))
    account = task.task_arn.split(":")[4]
    role = (task.task_role or "").rpartition("/")[2]  # a session's ARN does not show the path of its role
    if session is not None and role and (session["account"], session["role"]) == (account, role):
        return
    caller = f"role {session['role']} of account {session['account']}" if session else "nobody"
    own = f"role {role} of account {account}" if role else "none: its definition has no taskRoleArn"
    detail = f"a task reports with its own task role, which is {own}; the caller is {caller}"
    raise Problem(403, "not-this-task", detail, "task")


def whole_number(query: Mapping[str, str], field: str, lowest: int, highest: int) -> int | None:
    """Return a number from the query, None when it is not there."""
    text = query.get(field)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
        detail = f"{field}={text[:40]} is not allowed; use a whole number from {lowest} to {highest}"
        raise Problem(400, "bad-parameter", detail, field)
    return int(text)


def names(query: Mapping[str, str], field: str) -> frozenset[str] | None:
    """Return the service names in a comma-separated parameter, None when it is not there."""
    text = query.get(field)
    if text is None:
        return None
    found = frozenset(service_name(name.strip()) for name in text.split(",") if name.strip())
    if len(found) > MOST_NAMES:
        detail = f"{field} has {len(found)} names; ask for at most {MOST_NAMES}, or for all by leaving it out"
        raise Problem(400, "bad-parameter", detail, field)
    return found


def place(query: Mapping[str, str], field: str) -> str:
    """Return where a page starts: after this service; empty for the first page."""
    text = query.get(field, "")
    return _matching(text, NAME_PATTERN, field, "the `next` of the page before") if text else ""


def finding_key(query: Mapping[str, str], field: str) -> str:
    """Return where a page of findings starts: after this one; empty for the first page."""
    text = query.get(field, "")
    return _matching(text, FINDING_KEY_PATTERN, field, "the `next` of the page before") if text else ""


def question_id(value: str) -> str:
    """Return a question's id from a path."""
    return _matching(value, QUESTION_PATTERN, "question", "the id that asking gave")


def answer_place(query: Mapping[str, str], field: str) -> str:
    """Return where a page of answers starts: after this one; empty for the first page."""
    text = query.get(field, "")
    return _matching(text, ANSWER_PLACE_PATTERN, field, "the `next` of the page before") if text else ""


def since(query: Mapping[str, str], known: frozenset[Version]) -> Version | None:
    """Return the version after which changes are asked for, None when it is not there.

    `known` are the versions that the reader names in If-None-Match. A sidecar of an earlier release sends the number
    alone in `since`, and the epoch in its ETag.
    """
    text = query.get("since")
    if text is None:
        return None
    found = parse_version(text)
    if found is None:
        detail = f"since={text[:40]} is not allowed; use the ETag of a snapshot without its quotes, such as 1f3a-42"
        raise Problem(400, "bad-parameter", detail, "since")
    same = [each for each in known if each.revision == found.revision]
    return same[0] if same and not found.epoch else found


def etag(version: int | Version) -> str:
    """Return the entity tag of a policy's revision or a snapshot's version."""
    return f'"{version}"'


def part_etag(revision: int, document: Mapping[str, Any]) -> str:
    """Return the entity tag of a document of which only a part can be written: a digest of all, the part's revision.

    Who writes has to know the part, which is all that If-Match looks at; who reads learns each change of the rest.
    """
    digest = hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=12)
    return f'"{digest.hexdigest()}-{revision}"'


def matches(header: str | None, tag: str) -> bool:
    """Return whether an If-None-Match header has this entity tag."""
    return tag in _TAG.findall(header or "")


def known_versions(header: str | None) -> frozenset[Version]:
    """Return the versions in an If-None-Match header; tags that are not ours match nothing."""
    found = (parse_version(tag.strip('"')) for tag in _TAG.findall(header or ""))
    return frozenset(version for version in found if version is not None)


def expected_revision(header: str | None, pattern: re.Pattern[str] = ETAG) -> int | None:
    """Return the revision that If-Match demands, None for no header or `*`. A weak or foreign tag fails."""
    if header is None or header.strip() == "*":
        return None
    found = pattern.fullmatch(header.strip())
    if found is None:
        detail = f"If-Match {header} is no entity tag of this resource; send the ETag of a GET"
        raise Problem(412, "precondition-failed", detail, "If-Match")
    return int(found[1])


def body(raw: bytes | str, largest: int = LARGEST_BODY_BYTES) -> Any:
    """Return the JSON of a request's body."""
    if len(raw) > largest:
        detail = f"the body has {len(raw)} bytes; send at most {largest}"
        raise Problem(413, "body-too-large", detail, "$")
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "bad-body", f"the body is not JSON: {error}", "$") from error


def as_text(document: Any) -> str:
    """Return a body as it can be stored and sent on: a parser takes other encodings, and numbers without an end."""
    try:
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:
        raise Problem(400, "bad-body", f"the body is not JSON in UTF-8: {error}", "$") from error
    return text


def _refuse_constant(name: str) -> Any:
    """JSON has no NaN and no Infinity, though Python's parser takes them; DynamoDB takes neither."""
    raise ValueError(f"{name} is not JSON")


@cache
def schema(name: str) -> dict[str, Any]:
    """Return one of the registry's JSON Schemas."""
    path = Path(__file__).parent.parent / "registry" / "schemas" / f"{name}.json"
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def policy(document: Any) -> dict[str, Any]:
    """Return a valid policy."""
    return valid(document, "policy", "bad-policy")


def valid(document: Any, name: str, kind: str) -> dict[str, Any]:
    """Return a document that keeps to one of the registry's schemas, else raise a problem of this kind."""
    # Imported here: most invocations are polls of sidecars, which need no validator.
    from aws_lambda_powertools.utilities.validation import SchemaValidationError, validate

    try:
        validate(event=document, schema=schema(name))
    except SchemaValidationError as error:
        path = "$" + ".".join(["", *(str(part) for part in list(error.path or [])[1:])])
        reason = str(error.validation_message or error).removeprefix("data").lstrip(".")
        raise Problem(
            422, kind, f"the {name} {'is' if name == 'policy' else 'are'} not valid: {reason}", path
        ) from error
    checked: dict[str, Any] = normalised(document)
    return checked
