"""Whole snapshot documents in S3. IO.

A sidecar that starts takes one from there, without the API and its limit of 6 MB. The client is made when it is first
needed: most publications write no whole document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class S3Client(Protocol):
    """What is used of botocore's client."""

    def put_object(self, **arguments: Any) -> Any:
        """See S3's API reference, PutObject."""


class Documents:
    """Writes documents into one bucket."""

    def __init__(self, bucket: str, connect: Callable[[], S3Client]) -> None:
        self.bucket = bucket
        self._connect = connect
        self._client: S3Client | None = None

    def put(self, key: str, data: bytes) -> None:
        """Write a document, gzip over JSON. Raises what botocore raises."""
        if self._client is None:
            self._client = self._connect()
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data, ContentType="application/gzip")
