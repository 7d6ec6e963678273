"""Signature Version 4 as API Gateway checks it on a method with IAM authorisation.

The signature is computed again by botocore with the caller's secret key (`identity.py`). So a client that signs
wrongly fails here as it would in AWS and not only after it was deployed.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from infra.local.httpserver import Request
from infra.local.identity import Identity, find

SERVICE: Final = "execute-api"
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 "
    r"Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request"
    r", ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW: Final = timedelta(minutes=5)


class SignatureError(Exception):
    """The request is not signed as it must be; the text is API Gateway's."""


def verify(request: Request, region: str, now: datetime) -> Identity:
    """Return who signed the request. Raises SignatureError."""
    authorization = request.header("authorization")
    if not authorization:
        raise SignatureError("Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(authorization)
    if not found:
        raise SignatureError("Authorization header does not have the form of Signature Version 4")
    caller = find(found["key"], request.header("x-amz-security-token"))
    if caller is None:
        raise SignatureError("The security token included in the request is invalid.")
    if (found["region"], found["service"]) != (region, SERVICE):
        scope = f"{found['region']}/{found['service']}"
        raise SignatureError(f"Credential should be scoped to {region}/{SERVICE}, not to {scope}")
    stamp = request.header("x-amz-date")
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureError("X-Amz-Date is missing or malformed") from error
    if abs(now - signed_at) > _SKEW or not stamp.startswith(found["day"]):
        raise SignatureError(f"Signature expired: {stamp} is not within 5 minutes of {now:%Y%m%dT%H%M%SZ}")
    signature = _signature(request, caller, found["headers"].split(";"), region, stamp)
    if not hmac.compare_digest(signature, found["signature"]):
        raise SignatureError("The request signature we calculated does not match the signature you provided.")
    return caller


def _signature(request: Request, caller: Identity, names: list[str], region: str, stamp: str) -> str:
    if "host" not in names:
        raise SignatureError("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    signed = AWSRequest(
        method=request.method,
        url=f"http://{request.header('host')}{request.target}",
        data=request.body,
    )
    for name in names:
        signed.headers[name] = request.header(name)
    signed.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(caller.access_key, caller.secret_key), SERVICE, region)
    return str(signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed))
