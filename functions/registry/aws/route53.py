"""What is used of Route 53."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Route53Client(Protocol):
    """What is used of botocore's Route 53 client."""

    @property
    def get_hosted_zone(self) -> Callable[..., Any]:
        """(Id) -> {"HostedZone": {"Name": ..., "Config": {"PrivateZone": ...}}}."""

    @property
    def list_resource_record_sets(self) -> Callable[..., Any]:
        """(HostedZoneId, StartRecordName, StartRecordType) -> {"ResourceRecordSets": [...], "IsTruncated": ...}."""

    @property
    def change_resource_record_sets(self) -> Callable[..., Any]:
        """(HostedZoneId, ChangeBatch) -> {"ChangeInfo": {...}}."""
