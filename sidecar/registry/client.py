"""The API's client: the snapshot by a conditional GET, the task's health by a POST, both signed.

Rules:
- Blocking, by urllib3, on its caller's own thread: it runs once in seconds and never on the event loop.
- What a document may take of memory is bounded as sent and as decoded: compression makes one of the other.
- Signed with Signature Version 4 by botocore's signer and the task role's credentials; no client of an AWS service.
- An answer that is not expected is a `RegistryError` that says what to look at.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import botocore.session
import msgspec
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError

from sidecar.core.findings import Finding

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 10.0
MAX_SENT_BYTES: Final = 16 << 20
MAX_DOCUMENT_BYTES: Final = 32 << 20
"""A snapshot of 100,000 endpoints is about 25 MB, and compressed 2 MB; more is not a snapshot."""
MAX_RATIO: Final = 100
"""A snapshot is compressed to a tenth or a twentieth, zeros to a thousandth."""
SMALL_BYTES: Final = 1 << 20
"""What any answer may have."""

_HINTS: Final = {
    401: "the request is not signed as the API wants it; check TRAMO_API_URL and AWS_REGION",
    403: "the task role may not call the API; attach the policy in the stack's output SidecarPolicyArn",
}


class RegistryError(Exception):
    """The API gave no snapshot."""


class NamespaceUnknownError(RegistryError):
    """No task of the namespace has been registered yet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said: a document, or that nothing changed."""

    body: bytes | None
    etag: str
    poll_seconds: float | None


class RegistryClient:
    """Talks to the API about one namespace."""

    def __init__(self, api_url: str, namespace: str, region: str, session: botocore.session.Session) -> None:
        self._url = f"{api_url}/v1/namespaces/{quote(namespace, safe='')}"
        self._region = region
        self._session = session
        self._http = urllib3.PoolManager(
            maxsize=1, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False
        )

    def fetch(self, etag: str, since: str | None) -> Answer:
        """The snapshot unless it still has this ETag; only what changed after the version `since` if given.

        Raises RegistryError, and its subclass NamespaceUnknownError for 404.
        """
        url = f"{self._url}/snapshot" if since is None else f"{self._url}/snapshot?since={since}"
        headers = {"if-none-match": etag} if etag else {}
        status, answer, body = self._call("GET", url, headers)
        poll_seconds = _seconds(answer.get("tramo-poll-seconds"))
        if status == 304:
            return Answer(None, etag, poll_seconds)
        if status == 404:
            raise NamespaceUnknownError(f"the API does not know the namespace at {self._url}")
        if status != 200:
            raise _refused("GET", url, status)
        return Answer(body, answer.get("etag", ""), poll_seconds)

    def report_health(
        self, task_id: str, status: str, observed_at: str, is_stopping: bool, findings: Sequence[Finding] | None = None
    ) -> bool:
        """Say that ECS holds this task HEALTHY, UNHEALTHY or UNKNOWN since that time (ISO 8601, empty = now).

        `is_stopping` says besides that its DesiredStatus is STOPPED. The findings replace those of the report before;
        None says nothing about them, and an API that takes none is sent the rest. Return False when the task is not
        registered yet. Raises RegistryError.
        """
        url = f"{self._url}/tasks/{quote(task_id, safe='')}/health"
        report: dict[str, object] = {"status": status}
        if observed_at:
            report["observed_at"] = observed_at
        if is_stopping:
            report["desired_status"] = "STOPPED"
        if findings is not None:
            report["findings"] = [finding.document() for finding in findings]
        code, _, _ = self._call("POST", url, {"content-type": "application/json"}, msgspec.json.encode(report))
        if code in (400, 422) and findings is not None:
            return self.report_health(task_id, status, observed_at, is_stopping)
        if code not in (200, 404):
            raise _refused("POST", url, code)
        return code == 200

    def _call(
        self, method: str, url: str, extra: dict[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = self._sign(method, url, {"accept": "application/json", "accept-encoding": "gzip", **extra}, body)
        try:
            response = self._http.request(method, url, headers=headers, body=body, preload_content=False)
            try:
                sent = response.read(MAX_SENT_BYTES + 1, decode_content=False)
                if len(sent) > MAX_SENT_BYTES:
                    response.close()  # the rest of it is on the connection
            finally:
                response.release_conn()
            return response.status, response.headers, decoded(sent, response.headers.get("content-encoding", ""))
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"the API at {self._url} cannot be reached: {error}") from error
        except ValueError as error:
            raise RegistryError(f"the API's answer to {method} {url} {error}") from error

    def _sign(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        try:
            credentials = self._session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials is not None else None
        except BotoCoreError as error:
            raise RegistryError(f"no AWS credentials: {error}") from error
        if frozen is None:
            raise RegistryError("no AWS credentials: the task needs a task role, see the stack's SidecarPolicyArn")
        request = AWSRequest(method, url, headers=headers, data=body)
        SigV4Auth(frozen, "execute-api", self._region).add_auth(request)
        return dict(request.headers.items())


def decoded(sent: bytes, encoding: str) -> bytes:
    """A body as it was before it was compressed. Raises ValueError when it is too long, or broken."""
    if len(sent) > MAX_SENT_BYTES:
        raise ValueError(f"is longer than {MAX_SENT_BYTES} bytes")
    if encoding != "gzip":
        return sent
    most = min(max(len(sent) * MAX_RATIO, SMALL_BYTES), MAX_DOCUMENT_BYTES)
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16 asks for the frame of gzip
    try:
        body = decoder.decompress(sent, most)
    except zlib.error as error:
        raise ValueError(f"is no gzip: {error}") from error
    if not decoder.eof:
        raise ValueError(f"is longer than {most} bytes" if decoder.unconsumed_tail else "is gzip that is cut short")
    return body


def _refused(method: str, url: str, status: int) -> RegistryError:
    hint = _HINTS.get(status, "see the Api function's log")
    return RegistryError(f"the API answered {status} to {method} {url}: {hint}")


def _seconds(value: str | None) -> float | None:
    """The server's poll interval, if it named a sensible one."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return min(max(seconds, 0.1), 3600.0) if math.isfinite(seconds) else None
