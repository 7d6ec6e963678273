from __future__ import annotations

from typing import Any

from publisher.app import changes_of, key_of
from registry.publishing import Changes


def record(sk: str, namespace: str = "shop.local", **images: list[str]) -> dict[str, Any]:
    keys = {"pk": {"S": f"NAMESPACE#{namespace}"}, "sk": {"S": sk}}
    endpoints = {
        image: {"endpoints": {"L": [{"M": {"service": {"S": name}}} for name in names]}}
        for image, names in images.items()
    }
    return {"dynamodb": {"Keys": keys, **endpoints}}


def test_the_key_of_a_record() -> None:
    assert key_of(record("TASK#0123")) == ("shop.local", "TASK", "0123")
    assert key_of(record("HEAD")) == ("shop.local", "HEAD", "")


def test_changes_are_gathered_by_namespace() -> None:
    records = [
        record("TASK#aa", NewImage=["orders"]),
        record("TASK#aa", OldImage=["orders"], NewImage=["orders", "admin"]),
        record("SERVICE#stock"),
        record("TASK#bb", namespace="other"),
        record("TASK#cc", OldImage=["web"]),
    ]
    assert changes_of(records) == {
        "other": Changes(frozenset({"bb"}), frozenset()),
        "shop.local": Changes(frozenset({"aa", "cc"}), frozenset({"orders", "admin", "stock", "web"})),
    }


def test_our_own_output_and_the_list_of_namespaces_change_nothing() -> None:
    listed = {"dynamodb": {"Keys": {"pk": {"S": "NAMESPACES"}, "sk": {"S": "NAMESPACE#shop.local"}}}}
    assert changes_of([record("HEAD"), record("PART#01"), record("VIP#127.254.0.2"), listed]) == {}
