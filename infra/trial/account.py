"""What the trial does to an account: calls of AWS's API and programs of this machine. Really, or as a rehearsal.

A rehearsal goes the same way. It writes each call as the command that would make it, has botocore judge the parameters,
and answers as AWS does when all goes well. It asks nothing of AWS and needs no credentials.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Protocol, TextIO

import boto3
import botocore.session
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel
from botocore.validate import validate_parameters

from infra.client.stack import CONFIG
from infra.local.settings import REPOSITORY, LocalError

COMMAND_SECONDS: Final = 1_200.0
"""For `sam deploy`: a stack takes two or three minutes, and its roll-back as long."""


class TrialError(LocalError):
    """The trial cannot go on. `code` is AWS's, such as DependencyViolation, empty where AWS said nothing."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Account(Protocol):
    """Where the trial happens."""

    def command(self, words: Sequence[str]) -> None:
        """Run a program in the project's folder. Raises TrialError."""

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an operation of AWS, named as boto3 does. Raises TrialError."""

    def now(self) -> float:
        """Return the time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class Aws:
    """The account of the user's credentials."""

    def __init__(self, session: boto3.Session, out: TextIO) -> None:
        self._session = session
        self._out = out
        self._clients: dict[str, Any] = {}

    def command(self, words: Sequence[str]) -> None:
        """See Account."""
        self._out.write(f"$ {shlex.join(words)}\n")
        self._out.flush()
        try:
            subprocess.run(  # noqa: S603 - the trial's own words
                words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS, check=True
            )
        except FileNotFoundError:
            raise TrialError(f"{words[0]} is not there: run `make setup`, and put .venv/bin on PATH") from None
        except subprocess.CalledProcessError as error:
            raise TrialError(f"{shlex.join(words)} ended with code {error.returncode}") from error
        except subprocess.TimeoutExpired as error:
            raise TrialError(f"{shlex.join(words)} took longer than {COMMAND_SECONDS:.0f} s") from error

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """See Account."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=CONFIG)  # type: ignore[call-overload] # any
        try:
            answer: dict[str, Any] = getattr(self._clients[service], operation)(**parameters)
        except ClientError as error:
            raise TrialError(f"{service} {operation}: {error}", error.response["Error"].get("Code", "")) from error
        except BotoCoreError as error:
            raise TrialError(f"{service} {operation}: {error}") from error
        return answer

    def now(self) -> float:
        """See Account."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See Account."""
        time.sleep(seconds)


@cache
def _operations(service: str) -> Mapping[str, OperationModel]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


Answers = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""From an operation and its parameters to AWS's answer."""


class Rehearsal:
    """No account at all. Time passes by itself."""

    def __init__(self, region: str, answers: Answers, out: TextIO) -> None:
        self._region = region
        self._answers = answers
        self._out = out
        self._now = 0.0
        self._written = ""

    def command(self, words: Sequence[str]) -> None:
        """See Account."""
        self._write(shlex.join(words))
        self._answers(words[1], {})

    def call(self, service: str, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """See Account."""
        model = _operations(service).get(operation)
        if model is None:
            raise TrialError(f"{service} has no operation {operation}")
        if model.input_shape is not None:
            validate_parameters(parameters, model.input_shape)
        words = ["aws", "--region", self._region, service, operation.replace("_", "-")]
        self._write(shlex.join([*words, "--cli-input-json", json.dumps(parameters)] if parameters else words))
        return self._answers(operation, parameters)

    def _write(self, text: str) -> None:
        if text != self._written:  # what is asked again and again stands there once
            self._out.write(f"$ {text}\n")
        self._written = text

    def now(self) -> float:
        """See Account."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """See Account."""
        self._now += seconds
