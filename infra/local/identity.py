"""Who signs a request: the user of this machine, or a task by the session of its role.

ECS gives each task credentials of a session of its task role; the session is named after the task's id ("Amazon ECS
task IAM role" in the ECS developer guide). Here they are derived from the secret of the machine: whoever knows it can
tell from the token alone whose they are, and nobody has to remember what was given to whom.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from infra.local.settings import ACCESS_KEY, ACCOUNT, SECRET_KEY

DEFAULT_ROLE: Final = "tramo-local-task"
"""The role of tasks whose definition names none: in AWS they could not call the API at all."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller: credentials, and the ARN that API Gateway says. `token` is empty for the user."""

    access_key: str
    secret_key: str
    token: str
    arn: str


USER: Final = Identity(ACCESS_KEY, SECRET_KEY, "", f"arn:aws:iam::{ACCOUNT}:user/local")


def of_task(role: str, task_id: str) -> Identity:
    """Return the credentials that a task has by its role."""
    session = f"{role}/{task_id}"
    return Identity(
        access_key=f"ASIA{task_id[:16].upper()}",
        secret_key=_derived("secret", session),
        token=f"{session}/{_derived('token', session)}",
        arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{session}",
    )


def find(access_key: str, token: str) -> Identity | None:
    """Return whose key and token these are, None when they are nobody's."""
    if not token:
        return USER if access_key == ACCESS_KEY else None
    session, _, _ = token.rpartition("/")
    role, _, task_id = session.rpartition("/")
    found = of_task(role, task_id)
    known = hmac.compare_digest(found.token.encode(), token.encode()) and found.access_key == access_key
    return found if known else None


def _derived(purpose: str, session: str) -> str:
    return hmac.new(SECRET_KEY.encode(), f"{purpose}/{session}".encode(), hashlib.sha256).hexdigest()
