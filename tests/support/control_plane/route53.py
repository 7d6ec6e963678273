"""Route 53 for tests: one hosted zone that refuses what AWS refuses.

Limits and messages are those of ChangeResourceRecordSets in the API reference: 1,000 elements and 32,000 characters in
a batch, where UPSERT counts twice; all or nothing; a DELETE names the record set as it is.
"""

# ruff: noqa: N803 - the arguments have AWS's names

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

ZONE_ID = "Z0123456789ABCDEFGHIJ"
PAGE = 300
MOST_ELEMENTS = 1000
MOST_CHARACTERS = 32_000


class Route53:
    """A hosted zone, and what was asked of it. `failures` are raised by the next calls that change something."""

    def __init__(self, name: str = "shop.local.", private: bool = True, page: int = PAGE) -> None:
        self.calls: list[str] = []
        self.failures: list[ClientError] = []
        self._name = name
        self._private = private
        self._page = page
        soa = {"Name": name, "Type": "SOA", "TTL": 900, "ResourceRecords": [{"Value": "ns. hostmaster. 1 2 3 4 5"}]}
        self.records: dict[tuple[str, str], dict[str, Any]] = {(name, "SOA"): soa}

    def add(self, name: str, kind: str, value: str, **fields: Any) -> None:
        """Add a record that somebody else made."""
        self.records[name, kind] = {
            "Name": name,
            "Type": kind,
            "TTL": 300,
            "ResourceRecords": [{"Value": value}],
            **fields,
        }

    def addresses(self) -> dict[str, str]:
        """Return the address of each name."""
        return {
            name: record["ResourceRecords"][0]["Value"]
            for (name, kind), record in sorted(self.records.items())
            if kind == "A"
        }

    def get_hosted_zone(self, Id: str) -> Any:
        """See Route53Client."""
        self._began("get_hosted_zone", Id)
        return {"HostedZone": {"Id": f"/hostedzone/{Id}", "Name": self._name, "Config": {"PrivateZone": self._private}}}

    def list_resource_record_sets(self, HostedZoneId: str, StartRecordName: str = "", StartRecordType: str = "") -> Any:
        """See Route53Client."""
        self._began("list_resource_record_sets", HostedZoneId)
        if StartRecordType and not StartRecordName:
            raise error("InvalidInput", "a type without a name", "ListResourceRecordSets")
        found = [self.records[key] for key in sorted(self.records) if key >= (StartRecordName, StartRecordType)]
        answer = {"ResourceRecordSets": copy.deepcopy(found[: self._page]), "IsTruncated": len(found) > self._page}
        if len(found) > self._page:
            following = found[self._page]
            answer |= {"NextRecordName": following["Name"], "NextRecordType": following["Type"]}
        return answer

    def change_resource_record_sets(self, HostedZoneId: str, ChangeBatch: Mapping[str, Any]) -> Any:
        """See Route53Client."""
        self._began("change_resource_record_sets", HostedZoneId)
        if self.failures:
            raise self.failures.pop(0)
        changes = ChangeBatch["Changes"]
        if not changes:
            raise error("InvalidInput", "no changes", "ChangeResourceRecordSets")
        values = [value for change in changes for value in _values(change)]
        if len(values) > MOST_ELEMENTS or sum(map(len, values)) > MOST_CHARACTERS:
            raise error(
                "InvalidChangeBatch", "Number of records or characters limit exceeded", "ChangeResourceRecordSets"
            )
        after = copy.deepcopy(self.records)
        for change in changes:
            _apply(after, change["Action"], copy.deepcopy(change["ResourceRecordSet"]))
        self.records = after
        return {"ChangeInfo": {"Id": "/change/C1", "Status": "PENDING"}}

    def _began(self, call: str, zone_id: str) -> None:
        self.calls.append(call)
        if zone_id != ZONE_ID:
            raise error("NoSuchHostedZone", f"No hosted zone found with ID: {zone_id}", call)


def _values(change: Mapping[str, Any]) -> Iterable[str]:
    values = [each["Value"] for each in change["ResourceRecordSet"]["ResourceRecords"]]
    return values * (2 if change["Action"] == "UPSERT" else 1)


def _apply(records: dict[tuple[str, str], dict[str, Any]], action: str, record: dict[str, Any]) -> None:
    key = (record["Name"], record["Type"])
    if not record["Name"].endswith("."):
        record["Name"] += "."
    if action == "DELETE":
        if records.get(key) != record:
            raise error("InvalidChangeBatch", f"Tried to delete {key} but it was not found", "ChangeResourceRecordSets")
        del records[key]
        return
    assert action == "UPSERT", action
    if (record["Name"], "CNAME") in records:
        raise error("InvalidChangeBatch", f"RRSet of type CNAME exists beside {key}", "ChangeResourceRecordSets")
    records[key] = record


def error(code: str, message: str, operation: str) -> ClientError:
    """Return what botocore raises."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
