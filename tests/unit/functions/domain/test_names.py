from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.names import fault_of, is_allowed


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is no host name"),
        (".", "is no host name"),
        ("..", "is no host name"),
        (".orders", "is no host name"),
        ("orders.", "is no host name"),
        ("a..b", "is no host name"),
        ("-orders", "is no host name"),
        ("orders-.local", "is no host name"),
        ("a" * 64, "is no host name"),
        ("169.254.170.2", "can be read as an address"),
        ("127.1", "can be read as an address"),
        ("2130706433", "can be read as an address"),
        ("0x7f000001", "can be read as an address"),
        ("10.0x1", "can be read as an address"),
        ("localhost", "is the machine itself"),
        ("db.localhost", "is the machine itself"),
        ("localhost.localdomain", "is the machine itself"),
        ("ip6-loopback", "is the machine itself"),
        ("metadata", "is a name of the cloud's own"),
        ("metadata.google.internal", "is a name of the cloud's own"),
        ("instance-data.ec2.internal", "is a name of the cloud's own"),
        ("ip-10-0-0-1.us-west-2.compute.internal", "is a name of the cloud's own"),
        ("host.docker.internal", "is a name of the cloud's own"),
    ],
)
def test_names_that_no_service_may_have(name: str, fault: str) -> None:
    assert fault_of(name) == fault
    assert not is_allowed(name, "shop.local", [name, "internal", "localdomain"])


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("orders", "prod"),
        ("my_orders", "prod"),
        ("orders.shop.local", "shop.local"),
        ("orders.prod", "prod"),
        ("orders.prod", "Prod"),
        ("a.b.orders.prod", "prod"),
        ("orders.elsewhere.local", "prod"),
        ("orders.svc.internal", "prod"),
        ("orders.home.arpa", "prod"),
    ],
)
def test_names_that_need_no_permission(name: str, namespace: str) -> None:
    assert fault_of(name) is None
    assert is_allowed(name, namespace, ())


@pytest.mark.parametrize("name", ["sts.us-east-1.amazonaws.com", "orders.prod", "example.com", "prod.com"])
def test_public_names_need_the_namespaces_policy(name: str) -> None:
    assert not is_allowed(name, "shop.local", ())
    assert not is_allowed(name, "shop.local", ["other.org", "le.com"])
    assert is_allowed(name, "shop.local", [name])
    assert is_allowed(f"a.{name}", "shop.local", [name])


@given(st.ip_addresses(v=4).map(str))
def test_no_address_is_a_name(address: str) -> None:
    assert fault_of(address) == "can be read as an address"
