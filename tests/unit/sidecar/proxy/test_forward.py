"""Names in requests to the forward proxy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.fields import valid_authority
from sidecar.proxy.forward import split_authority


@pytest.mark.parametrize(
    ("authority", "name", "port"),
    [
        (b"orders", "orders", 80),
        (b"orders:8080", "orders", 8080),
        (b"ORDERS.Shop.Local.:80", "orders.shop.local", 80),
        (b"orders.", "orders", 80),
        (b"[::1]:80", "[::1]", 80),
        (b"[::1]", "[::1]", 80),
        (b"10.0.0.1:99999", "10.0.0.1", 99999),
    ],
)
def test_names_and_ports(authority: bytes, name: str, port: int) -> None:
    assert split_authority(authority) == (name, port)


@given(st.binary(max_size=30))
def test_every_authority_that_the_reader_takes_can_be_split(authority: bytes) -> None:
    if valid_authority(authority):
        name, port = split_authority(authority)
        assert name == name.lower()
        assert port >= 0
