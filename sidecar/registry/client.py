"""The API's client: one conditional, signed GET.

Rules:
- Blocking, by urllib3, on a thread of its own: it runs once in seconds and never on the event loop.
- Signed with Signature Version 4 by botocore's signer and the task role's credentials; no client of an AWS service.
- An answer that is neither 200 nor 304 is a `RegistryError` that says what to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import botocore.session
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 10.0
MAX_DOCUMENT_BYTES: Final = 64 << 20
"""A snapshot of 100,000 endpoints is about 25 MB; more is not a snapshot."""

_HINTS: Final = {
    401: "the request is not signed as the API wants it; check TRAMO_API_URL and AWS_REGION",
    403: "the task role may not call the API; attach the policy in the stack's output SidecarPolicyArn",
}


class RegistryError(Exception):
    """The API gave no snapshot."""


class NamespaceUnknown(RegistryError):
    """No task of the namespace has been registered yet."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said: a document, or that nothing changed."""

    body: bytes | None
    etag: str
    poll_seconds: float | None


class RegistryClient:
    """Asks the API for the snapshot of one namespace."""

    def __init__(self, api_url: str, namespace: str, region: str, session: botocore.session.Session) -> None:
        self._url = f"{api_url}/v1/namespaces/{quote(namespace, safe='')}/snapshot"
        self._region = region
        self._session = session
        self._http = urllib3.PoolManager(
            maxsize=1, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False
        )

    def fetch(self, etag: str, since: int | None) -> Answer:
        """The snapshot unless it still has this ETag; only what changed after the revision `since` if given.

        Raises RegistryError, and its subclass NamespaceUnknown for 404.
        """
        url = self._url if since is None else f"{self._url}?since={since}"
        headers = {"accept": "application/json", "accept-encoding": "gzip"}
        if etag:
            headers["if-none-match"] = etag
        try:
            response = self._http.request("GET", url, headers=self._sign(url, headers), preload_content=False)
            try:
                body = response.read(MAX_DOCUMENT_BYTES + 1, decode_content=True)
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise RegistryError(f"the API at {self._url} cannot be reached: {error}") from error
        if response.status == 304:
            return Answer(None, etag, _seconds(response.headers.get("tramo-poll-seconds")))
        if response.status == 404:
            raise NamespaceUnknown(f"the API does not know the namespace at {self._url}")
        if response.status != 200:
            hint = _HINTS.get(response.status, "see the Api function's log")
            raise RegistryError(f"the API answered {response.status} to GET {url}: {hint}")
        if len(body) > MAX_DOCUMENT_BYTES:
            raise RegistryError(f"the API's answer is longer than {MAX_DOCUMENT_BYTES} bytes")
        return Answer(body, response.headers.get("etag", ""), _seconds(response.headers.get("tramo-poll-seconds")))

    def _sign(self, url: str, headers: dict[str, str]) -> dict[str, str]:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise RegistryError("no AWS credentials: the task needs a task role, see the stack's SidecarPolicyArn")
        request = AWSRequest("GET", url, headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), "execute-api", self._region).add_auth(request)
        return dict(request.headers.items())


def _seconds(value: str | None) -> float | None:
    """The server's poll interval, if it named a sensible one."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return min(max(seconds, 0.1), 3600.0)
