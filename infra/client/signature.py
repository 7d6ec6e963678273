"""Signature Version 4 for the mesh's API. Pure.

botocore signs as well, and the tests compare with it. But `botocore.auth` and `botocore.awsrequest` take 0.2 s of
processor time to import, and 1 s where pyOpenSSL or the AWS Common Runtime are installed, which they import then; all
else that a command imports to ask the API takes 0.15 s. `python -X importtime -c "import botocore.auth"` shows it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

SERVICE: Final = "execute-api"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs. `token` is that of a session, empty for keys that last."""

    access_key: str
    secret_key: str
    token: str = ""


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers with those that sign the request; `now` is in UTC, the query of the URL quoted."""
    parts = urlsplit(url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    made = {**headers, "X-Amz-Date": stamp}
    if credentials.token:
        made["X-Amz-Security-Token"] = credentials.token
    fields = {name.lower(): " ".join(value.split()) for name, value in made.items()} | {"host": parts.netloc}
    names = ";".join(sorted(fields))
    canonical = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/~"),  # once more: every service but S3 wants the path quoted twice
            "&".join(sorted(parts.query.split("&"), key=_name_and_value)),
            *(f"{name}:{fields[name]}" for name in sorted(fields)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    made["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return made


def _name_and_value(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name, value  # apart: "=" stands behind the digits, and would put `a0=` before `a=`
