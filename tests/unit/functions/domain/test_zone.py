"""Names of services as records of a private hosted zone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.zone import Changes, Mode, address_in, batches, changes, wanted
from tests.support.control_plane.route53 import ZONE_ID, Route53

NAMES = st.from_regex(r"[a-c]{1,2}(\.x)?\.shop\.local", fullmatch=True)
ADDRESSES = st.from_regex(r"127\.254\.[0-9]\.[2-9]", fullmatch=True)


def service(name: str, *aliases: str, vip: str = "127.254.0.2") -> dict[str, Any]:
    return {"name": name, "vip": vip, "aliases": [{"dns_name": alias, "port": 80} for alias in aliases]}


def a(name: str, *values: str, **fields: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": each} for each in values], **fields}


def test_an_alias_in_the_zone_gets_the_services_address() -> None:
    orders = service("orders", "orders.shop.local", "orders.other.local", vip="127.254.1.7")
    assert wanted("shop.local.", {"shop.local": [orders]}, Mode.LISTEN) == {"orders.shop.local": "127.254.1.7"}
    assert wanted("shop.local.", {"shop.local": [orders]}, Mode.REDIRECT) == {"orders.shop.local": "240.0.1.7"}


def test_a_name_without_a_dot_lies_in_the_zone_of_its_namespace() -> None:
    services = {"shop.local": [service("orders", "orders")], "other": [service("stock", "stock")]}
    assert wanted("shop.local.", services, Mode.LISTEN) == {"orders.shop.local": "127.254.0.2"}


def test_the_zones_own_name_and_names_that_only_end_alike_get_none() -> None:
    services = [service("orders", "shop.local", "myshop.local", "orders.shop.local.example")]
    assert wanted("shop.local.", {"n": services}, Mode.LISTEN) == {}


def test_of_services_with_one_name_the_first_has_it() -> None:
    services = {
        "b": [service("a", "x.shop.local", vip="127.254.0.4")],
        "a": [service("z", "x.shop.local"), service("b", "x.shop.local", vip="127.254.0.3")],
    }
    assert wanted("shop.local.", services, Mode.LISTEN) == {"x.shop.local": "127.254.0.3"}


def test_a_name_goes_to_the_service_whose_own_it_is_before_the_first_namespace() -> None:
    services = {
        "a-test": [service("orders", "orders.shop.local", vip="127.254.0.9")],
        "shop.local": [
            service("a", "orders.shop.local", vip="127.254.0.8"),
            service("orders", "orders.shop.local", vip="127.254.0.2"),
        ],
    }
    assert wanted("shop.local.", services, Mode.LISTEN) == {"orders.shop.local": "127.254.0.2"}


def test_a_name_below_a_namespace_goes_to_a_service_of_it_before_the_first_namespace() -> None:
    services = {
        "a-test": [service("orders", "x.shop.local", vip="127.254.0.9")],
        "shop.local": [service("orders", "x.shop.local", vip="127.254.0.2")],
    }
    assert wanted("local.", services, Mode.LISTEN) == {"x.shop.local": "127.254.0.2"}


@pytest.mark.parametrize(
    "record",
    [
        a("orders.shop.local.", "10.0.0.1"),
        a("orders.shop.local.", "127.254.0.2", "127.254.0.3"),
        a("orders.shop.local.", "127.254.0.2", SetIdentifier="blue", Weight=1),
        {"Name": "orders.shop.local.", "Type": "A", "AliasTarget": {"DNSName": "lb."}},
        {"Name": "orders.shop.local.", "Type": "CNAME", "TTL": 1, "ResourceRecords": [{"Value": "elsewhere."}]},
        {"Name": "orders.shop.local.", "Type": "AAAA", "TTL": 1, "ResourceRecords": [{"Value": "fd00::1"}]},
    ],
)
def test_a_record_of_somebody_else_stays_and_its_name_gets_none_of_ours(record: Mapping[str, Any]) -> None:
    assert changes([record], {"orders.shop.local": "127.254.0.2"}) == Changes({}, {}, ("orders.shop.local",))
    assert changes([record], {}) == Changes({}, {}, ())


def test_what_is_right_is_left_and_another_address_is_written_over() -> None:
    present = [a("orders.shop.local.", "127.254.0.2"), a("stock.shop.local.", "240.0.0.3")]
    names = {"orders.shop.local": "127.254.0.2", "stock.shop.local": "127.254.0.3"}
    assert changes(present, names).written == {"stock.shop.local": "127.254.0.3"}


def test_a_text_beside_the_name_is_nobodys_business() -> None:
    text = {"Name": "orders.shop.local.", "Type": "TXT", "TTL": 1, "ResourceRecords": [{"Value": '"hello"'}]}
    assert changes([text], {"orders.shop.local": "127.254.0.2"}).taken == ()


def test_the_last_two_numbers_of_an_address_are_the_same_in_both_modes() -> None:
    assert [address_in("127.254.3.9", mode) for mode in Mode] == ["127.254.3.9", "240.0.3.9"]


@given(st.dictionaries(NAMES, ADDRESSES), st.dictionaries(NAMES, ADDRESSES))
def test_the_changes_lead_from_any_names_to_any_others(before: dict[str, str], after: dict[str, str]) -> None:
    zone = Route53()
    zone.add("www.shop.local.", "A", "10.0.0.1")
    for names in (before, after, after):
        found = changes(zone.records.values(), names)
        for batch in batches(found):
            zone.change_resource_record_sets(HostedZoneId=ZONE_ID, ChangeBatch={"Changes": batch})
        assert zone.addresses() == {"www.shop.local.": "10.0.0.1"} | {f"{name}.": names[name] for name in names}
    assert found == Changes({}, {}, ())


def test_three_thousand_names_are_written_and_removed_in_batches_that_route_53_takes() -> None:
    names = {f"s{number}.shop.local": f"127.254.{number // 250}.{number % 250 + 2}" for number in range(3000)}
    zone = Route53()
    for wish, requests in ((names, 6), ({}, 3)):
        found = list(batches(changes(zone.records.values(), wish)))
        assert len(found) == requests
        for batch in found:
            zone.change_resource_record_sets(HostedZoneId=ZONE_ID, ChangeBatch={"Changes": batch})
        assert len(zone.addresses()) == len(wish)
