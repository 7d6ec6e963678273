"""The credentials that calls of AWS are signed with, found by botocore.

Rules:
- Found when they are first asked for, and looked for again until there are some. Before they expire they are fetched
  anew.
- Keys in the environment and the container's endpoint, which task roles have, need little of botocore.
- Profiles, web identities and an instance's role are left to its session, whose import takes 3 MiB.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from botocore.credentials import ContainerProvider, Credentials, EnvProvider, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

_BEFORE_ENDPOINT: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""With any of these, or with files in `_DIRECTORY`, AWS's SDKs look elsewhere before they ask the endpoint."""
_DIRECTORY: Final = "~/.aws"


class CredentialsError(Exception):
    """There are no credentials, or they could not be fetched."""


def find_credentials() -> Credentials | None:
    """Return the credentials of this process, None if it has none. They are looked for in the order of AWS's SDKs."""
    if os.environ.get(EnvProvider.ACCESS_KEY):
        return EnvProvider().load()
    has_endpoint = ContainerProvider.ENV_VAR in os.environ or ContainerProvider.ENV_VAR_FULL in os.environ
    if has_endpoint and not _is_configured():
        return ContainerProvider().load()
    import botocore.session

    return botocore.session.Session().get_credentials()


class TaskCredentials:
    """The task's credentials. Several threads share them."""

    def __init__(self, find: Callable[[], Credentials | None] = find_credentials) -> None:
        self._find = find
        self._found: Credentials | None = None

    def current(self) -> ReadOnlyCredentials:
        """Return what to sign with now. Raises CredentialsError."""
        try:
            # Without a lock: threads that begin at once find the same, and none waits for another's time-outs.
            found = self._found or self._find()
            if found is None:
                raise CredentialsError(
                    "no AWS credentials: the task needs a task role, see the stack's SidecarPolicyArn"
                )
            self._found = found
            return found.get_frozen_credentials()
        except (BotoCoreError, OSError, ValueError) as error:
            raise CredentialsError(f"no AWS credentials: {error}") from error
        except (LookupError, TypeError) as error:
            raise CredentialsError(f"no AWS credentials: the endpoint's answer has {error!r}") from error


def _is_configured() -> bool:
    return any(os.environ.get(name) for name in _BEFORE_ENDPOINT) or os.path.isdir(os.path.expanduser(_DIRECTORY))
