"""HTTP calls of AWS and of the registry's API, signed by botocore's signer with the task role's credentials.

Rules:
- Signature Version 4. Blocking, by urllib3, on its caller's own thread, and never on the event loop.
- No client of an AWS service: the model of one, with the addresses of all services in all regions, takes 8 MiB.
- What a document may take of memory is bounded as sent and as decoded: compression makes one of the other.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import urllib3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest

from sidecar.credentials import CredentialsError, TaskCredentials

CONNECT_SECONDS: Final = 2.0
MAX_SENT_BYTES: Final = 16 << 20
MAX_DOCUMENT_BYTES: Final = 32 << 20
"""A snapshot of 100,000 endpoints is about 25 MB, and compressed 2 MB; more is not a snapshot."""
MAX_RATIO: Final = 100
"""A snapshot is compressed to a tenth or a twentieth, zeros to a thousandth."""
SMALL_BYTES: Final = 1 << 20
"""What any answer may have."""


class CallError(Exception):
    """The call has no answer, or one that is of no use."""


class UnreachableError(CallError):
    """Nobody answered."""


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def address(service: str, region: str) -> str:
    """Return the usual address of an AWS service, such as https://monitoring.eu-west-1.amazonaws.com."""
    return f"https://{service}.{region}.{domain(region)}"


def domain(region: str) -> str:
    """Return what the names of AWS's hosts in a region end in."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


class Caller:
    """Makes calls of one AWS service. One instance belongs to one thread."""

    def __init__(self, service: str, region: str, credentials: TaskCredentials, read_seconds: float) -> None:
        self._service = service
        self._region = region
        self._credentials = credentials
        self._http = urllib3.PoolManager(
            maxsize=1, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds), retries=False
        )

    def call(self, method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Reply:
        """Send a request. Raises CallError when there is no answer."""
        signed = self._sign(method, url, headers, body)
        try:
            response = self._http.request(method, url, headers=signed, body=body, preload_content=False)
            try:
                sent = response.read(MAX_SENT_BYTES + 1, decode_content=False)
                if len(sent) > MAX_SENT_BYTES:
                    response.close()  # the rest of it is on the connection
            finally:
                response.release_conn()
            text = decoded(sent, response.headers.get("content-encoding", ""))
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"{url} cannot be reached: {error}") from error
        except ValueError as error:
            raise CallError(f"the answer to {method} {url} {error}") from error
        return Reply(response.status, response.headers, text)

    def _sign(self, method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        try:
            credentials = self._credentials.current()
        except CredentialsError as error:
            raise CallError(str(error)) from error
        request = AWSRequest(method, url, headers=headers, data=body)
        signer = S3SigV4Auth if self._service == "s3" else SigV4Auth
        signer(credentials, self._service, self._region).add_auth(request)
        return dict(request.headers.items())


def document_of(reply: Reply) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if it has none."""
    try:
        document = json.loads(reply.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def code_of(document: dict[str, Any] | None) -> str:
    """Return the code of a failed call of AWS's JSON protocols; empty if it has none."""
    return str((document or {}).get("__type", "")).rpartition("#")[2]


def decoded(sent: bytes, encoding: str) -> bytes:
    """Return a body as it was before it was compressed. Raises ValueError when it is too long, or broken."""
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
