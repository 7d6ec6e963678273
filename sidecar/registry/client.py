"""The API's client: the snapshot by a conditional GET, the task's health by a POST, both signed.

Rules:
- Blocking and signed, as `aws_calls.py` does it.
- An answer that is not expected is a `CallError` that says what to look at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from sidecar.aws_calls import Caller, Reply, UnreachableError
from sidecar.aws_calls import CallError as CallError
from sidecar.core.findings import Finding
from sidecar.credentials import TaskCredentials

READ_SECONDS: Final = 10.0

_HINTS: Final = {
    401: "the request is not signed as the API wants it; check TRAMO_API_URL and AWS_REGION",
    403: "the task role may not call the API; attach the policy in the stack's output SidecarPolicyArn",
}
_UNKNOWN_HERE: Final = (
    "API Gateway does not know this API here: in a VPC whose endpoint for execute-api has private DNS a public API "
    "cannot be reached; deploy the stack with VpcEndpointIds or DomainName"
)
"""For API Gateway's `ForbiddenException`. A role that may not call is an `AccessDeniedException`."""
_NO_WAY: Final = (
    "; if nothing answers, the subnet may have no way to the API: it needs NAT, or the stack VpcEndpointIds and the "
    "security group of the endpoint port 443"
)


class NamespaceUnknownError(CallError):
    """No task of the namespace has been registered yet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said: a document, or that nothing changed.

    `source` says by whom. With `more` there is a newer document, to be asked for at once. `questions` are those of
    operators (`questions.py`).
    """

    body: bytes | None
    etag: str
    poll_seconds: float | None
    source: str = "api"
    more: bool = False
    questions: str = ""


class RegistryClient:
    """Talks to the API about one namespace. One instance belongs to one thread.

    `on_mesh` is told, on that thread, the mesh that each answer names.
    """

    def __init__(
        self,
        api_url: str,
        namespace: str,
        region: str,
        credentials: TaskCredentials,
        on_mesh: Callable[[str], object] | None = None,
    ) -> None:
        self._on_mesh = on_mesh
        self._url = f"{api_url}/v1/namespaces/{quote(namespace, safe='')}"
        self._caller = Caller("execute-api", region, credentials, READ_SECONDS)

    def fetch(self, etag: str, since: str | None) -> Answer:
        """Return the snapshot unless it still has this ETag; only what changed after the version `since` if given.

        Raises CallError, and its subclass NamespaceUnknownError for 404.
        """
        url = f"{self._url}/snapshot" if since is None else f"{self._url}/snapshot?since={since}"
        headers = {"if-none-match": etag} if etag else {}
        status, answer, body = self._call("GET", url, headers)
        poll_seconds = _seconds(answer.get("tramo-poll-seconds"))
        questions = answer.get("tramo-questions") or ""
        if status == 304:
            return Answer(None, etag, poll_seconds, questions=questions)
        if status == 404:
            raise NamespaceUnknownError(f"the API does not know the namespace at {self._url}")
        if status != 200:
            raise _refused("GET", url, status, answer)
        return Answer(body, answer.get("etag", ""), poll_seconds, questions=questions)

    def report_health(
        self, task_id: str, status: str, observed_at: str, is_stopping: bool, findings: Sequence[Finding] | None = None
    ) -> bool:
        """Say that ECS holds this task HEALTHY, UNHEALTHY or UNKNOWN since that time (ISO 8601, empty = now).

        `is_stopping` says besides that its DesiredStatus is STOPPED. The findings replace those of the report before;
        None says nothing about them, and an API that takes none is sent the rest. Return False when the task is not
        registered yet. Raises CallError.
        """
        url = f"{self._url}/tasks/{quote(task_id, safe='')}/health"
        report: dict[str, object] = {"status": status}
        if observed_at:
            report["observed_at"] = observed_at
        if is_stopping:
            report["desired_status"] = "STOPPED"
        if findings is not None:
            report["findings"] = [finding.document() for finding in findings]
        code, answer, _ = self._call("POST", url, {"content-type": "application/json"}, msgspec.json.encode(report))
        if code in (400, 422) and findings is not None:
            return self.report_health(task_id, status, observed_at, is_stopping)
        if code not in (200, 404):
            raise _refused("POST", url, code, answer)
        return code == 200

    def answer(self, question: str, task_id: str, body: bytes) -> None:
        """Answer a question. One that is over is no mistake. Raises CallError."""
        url = f"{self._url}/questions/{quote(question, safe='')}/answers/{quote(task_id, safe='')}"
        code, headers, _ = self._call("POST", url, {"content-type": "application/json"}, body)
        if code not in (200, 404):
            raise _refused("POST", url, code, headers)

    def _call(self, method: str, url: str, extra: dict[str, str], body: bytes = b"") -> Reply:
        headers = {"accept": "application/json", "accept-encoding": "gzip", **extra}
        try:
            reply = self._caller.call(method, url, headers, body)
        except UnreachableError as error:
            raise UnreachableError(f"{error}{_NO_WAY}") from error
        mesh = reply[1].get("tramo-mesh")
        if mesh and self._on_mesh is not None:
            self._on_mesh(mesh)
        return reply


def _refused(method: str, url: str, status: int, answer: Mapping[str, str]) -> CallError:
    hint = _HINTS.get(status, "see the Api function's log")
    if status == 403 and answer.get("x-amzn-errortype", "").startswith("ForbiddenException"):
        hint = _UNKNOWN_HERE
    return CallError(f"the API answered {status} to {method} {url}: {hint}")


def _seconds(value: str | None) -> float | None:
    """Return the server's poll interval, if it named a sensible one."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return min(max(seconds, 0.1), 3600.0) if math.isfinite(seconds) else None
