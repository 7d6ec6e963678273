"""CloudWatch's call PutMetricData.

Rules:
- Its form is that of AWS's SDKs: JSON 1.0, compressed by gzip from `COMPRESSED_BYTES` on.
- What may succeed soon is tried again at once, `ATTEMPTS` times in all: no answer, throttling, faults of CloudWatch.
- Whether a value is sent twice after an answer that was lost, CloudWatch cannot tell, nor can its SDKs.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

from sidecar.aws_calls import Caller, CallError, UnreachableError, address, code_of, document_of
from sidecar.credentials import TaskCredentials

READ_SECONDS: Final = 5.0
ATTEMPTS: Final = 3
"""With the time-outs of each and the waits between them below the 30 s that a blocking call may take."""
WAIT_SECONDS: Final = 0.5
"""Before the second attempt, twice that before the third; less a random share: a fleet shall not come at once."""
COMPRESSED_BYTES: Final = 10_240
"""From where on AWS's SDKs compress a request."""

_HEADERS: Final = {
    "content-type": "application/x-amz-json-1.0",
    "x-amz-target": "GraniteServiceVersion20100801.PutMetricData",
}
_REFUSALS: Final = frozenset(
    (
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "InvalidParameterCombination",
        "InvalidParameterCombinationException",
        "MissingParameter",
        "MissingRequiredParameterException",
        "ValidationError",
        "RequestEntityTooLarge",
    )
)
_NO_ACCESS: Final = "; attach the policy in the stack's output SidecarPolicyArn to the task role"


class NotTakenError(Exception):
    """CloudWatch did not take the values; later it may."""


class RetryableError(NotTakenError):
    """CloudWatch did not take the values; an attempt at once may succeed."""


class RefusedError(NotTakenError):
    """CloudWatch will never take the values."""


class PutMetricData:
    """Sends values to CloudWatch. One call at a time."""

    def __init__(
        self,
        region: str,
        credentials: TaskCredentials,
        url: str = "",
        wait: Callable[[float], None] = time.sleep,  # on the thread of the call
    ) -> None:
        self.url = f"{url or address('monitoring', region)}/"
        self._caller = Caller("monitoring", region, credentials, READ_SECONDS)
        self._wait = wait

    def __call__(self, namespace: str, data: list[dict[str, Any]]) -> None:
        """Send values, as the API reference of PutMetricData has them, times in seconds since 1970.

        Raises NotTakenError, and its subclass RefusedError.
        """
        try:
            body = json.dumps({"Namespace": namespace, "MetricData": data}, allow_nan=False).encode()
        except ValueError as error:
            raise RefusedError(f"a value is not a number that JSON has: {error}") from error
        headers = dict(_HEADERS)
        if len(body) >= COMPRESSED_BYTES:
            body = gzip.compress(body, compresslevel=6, mtime=0)
            headers["content-encoding"] = "gzip"
        for attempt in range(1, ATTEMPTS):
            try:
                self._send(headers, body)
                return
            except RetryableError:
                self._wait(WAIT_SECONDS * attempt * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
        self._send(headers, body)

    def _send(self, headers: dict[str, str], body: bytes) -> None:
        """Make one attempt. Raises NotTakenError, and its subclasses."""
        try:
            reply = self._caller.call("POST", self.url, headers, body)
        except UnreachableError as error:
            raise RetryableError(str(error)) from error
        except CallError as error:
            raise NotTakenError(str(error)) from error
        if reply.status == 200:
            return
        document = document_of(reply)
        code = code_of(document)
        if document is None:
            message = reply.body[:200].decode(errors="replace")
        else:
            message = str(document.get("message") or document.get("Message") or "")
        hint = _NO_ACCESS if code in ("AccessDenied", "AccessDeniedException") else ""
        said = f"CloudWatch answered {reply.status} {code or 'without a code'} to {self.url}: {message}{hint}"
        if code in _REFUSALS or reply.status == 413:
            raise RefusedError(said)
        if reply.status >= 500 or reply.status == 429 or code.startswith(("Throttl", "RequestLimitExceeded")):
            raise RetryableError(said)
        raise NotTakenError(said)
