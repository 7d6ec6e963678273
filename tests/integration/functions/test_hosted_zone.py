"""The names of services in a private hosted zone: a strict Route 53, and moto's for the requests' form."""

from __future__ import annotations

import math
import uuid

import pytest
from botocore.exceptions import ClientError

from publisher.app import bring_zone, publish_all
from reconciler.app import repair_zone
from registry.aws.pacing import TokenBucket
from registry.domain.zone import Mode
from registry.dynamodb.store import Store
from registry.hosted_zone import Brought, HostedZone, PublicZoneError, ZoneUnfinishedError, open_zone
from registry.publishing import Changes, Publisher
from tests.support.control_plane import aws, building
from tests.support.control_plane.building import task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.control_plane.route53 import ZONE_ID, Route53, error

NOW = 1_795_345_200.0


def for_ever() -> float:
    return math.inf


def unpaced() -> TokenBucket:
    return TokenBucket(1_000_000.0, sleep=lambda _: None)


def zone_of(route53: Route53, mode: Mode = Mode.LISTEN) -> HostedZone:
    return HostedZone(lambda: route53, ZONE_ID, mode, unpaced())


@pytest.fixture
def publisher(store: Store) -> Publisher:
    return Publisher(store, clock=lambda: NOW, pause=lambda _: None)


def publish(store: Store, publisher: Publisher, *names: str) -> None:
    for name in names:
        building.declare(store, name)
    publisher.publish(NAMESPACE, Changes(services=frozenset(names)))


def vip(store: Store, name: str) -> str:
    address = store.services.all(NAMESPACE)[name].vip
    assert address is not None
    return address


def test_published_names_have_records_and_others_go(store: Store, publisher: Publisher) -> None:
    route53 = Route53(page=2)
    route53.add("www.shop.local.", "A", "10.0.0.1")
    route53.add("gone.shop.local.", "A", "127.254.0.9")
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    publish(store, publisher, "orders", "stock")
    zone = zone_of(route53)
    assert zone.bring(store, for_ever) == Brought(written=2, removed=1, taken=())
    assert route53.addresses() == {
        "orders.shop.local.": vip(store, "orders"),
        "stock.shop.local.": vip(store, "stock"),
        "www.shop.local.": "10.0.0.1",
    }
    assert zone.bring(store, for_ever) == Brought(0, 0, ())
    assert route53.calls.count("change_resource_record_sets") == 1
    assert route53.calls.count("get_hosted_zone") == 1


def test_the_publisher_asks_route_53_only_when_names_changed(store: Store, publisher: Publisher) -> None:
    asked: list[str] = []
    building.declare(store, "orders")

    def publication(*tasks: str) -> None:
        changes = {NAMESPACE: Changes(tasks=frozenset(tasks), services=frozenset({"orders"}))}
        assert publish_all(publisher, changes, rename=lambda: asked.append("zone")) == {}

    publication()
    assert asked == ["zone"]
    store.tasks.apply(task("aa"))
    publication("aa")
    assert asked == ["zone"]  # an endpoint more is no name more


def test_the_addresses_are_those_of_redirected_tasks_when_so_chosen(store: Store, publisher: Publisher) -> None:
    route53 = Route53()
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    publish(store, publisher, "orders")
    zone_of(route53).bring(store, for_ever)
    zone_of(route53, Mode.REDIRECT).bring(store, for_ever)
    assert route53.addresses() == {"orders.shop.local.": vip(store, "orders").replace("127.254.", "240.0.")}


def test_a_publication_stands_when_route_53_fails_and_the_reconciler_repairs_the_zone(
    store: Store, publisher: Publisher
) -> None:
    route53 = Route53()
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    publish(store, publisher, "orders")
    zone = zone_of(route53)
    refused = error("InvalidChangeBatch", "it was not found", "ChangeResourceRecordSets")
    route53.failures = [refused, refused]
    bring_zone(zone, store, for_ever)
    assert not repair_zone(zone, store, for_ever)
    assert route53.addresses() == {}
    assert repair_zone(zone, store, for_ever)
    assert route53.addresses() == {"orders.shop.local.": vip(store, "orders")}


def test_a_public_zone_is_left_alone(store: Store) -> None:
    route53 = Route53(private=False)
    with pytest.raises(PublicZoneError, match="is public; give HostedZoneId a private one"):
        zone_of(route53).bring(store, for_ever)
    assert route53.calls == ["get_hosted_zone"]


def test_no_request_begins_that_may_outlast_the_function(store: Store) -> None:
    route53 = Route53()
    with pytest.raises(ZoneUnfinishedError):
        zone_of(route53).bring(store, lambda: 10.0)
    assert route53.calls == []


def test_without_an_id_there_is_no_zone() -> None:
    assert open_zone("", Mode.LISTEN, aws.REGION) is None


def test_the_requests_are_such_as_route_53_takes(
    store: Store, publisher: Publisher, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_ROUTE_53", moto_endpoint)
    route53 = aws.client("route53", moto_endpoint)
    made = route53.create_hosted_zone(
        Name="shop.local",
        CallerReference=uuid.uuid4().hex,
        HostedZoneConfig={"PrivateZone": True},
        VPC={"VPCRegion": aws.REGION, "VPCId": "vpc-1"},
    )
    identifier = made["HostedZone"]["Id"].removeprefix("/hostedzone/")

    def addresses() -> dict[str, str]:
        records = route53.list_resource_record_sets(HostedZoneId=identifier)["ResourceRecordSets"]
        return {each["Name"]: each["ResourceRecords"][0]["Value"] for each in records if each["Type"] == "A"}

    store.tasks.ensure_namespace(NAMESPACE, NOW)
    publish(store, publisher, "orders")
    route53.change_resource_record_sets(HostedZoneId=identifier, ChangeBatch={"Changes": [gone("CREATE")]})
    zone = open_zone(identifier, Mode.LISTEN, aws.REGION)
    assert zone is not None
    assert zone.bring(store, for_ever) == Brought(1, 1, ())
    assert addresses() == {"orders.shop.local.": vip(store, "orders")}
    missing = open_zone("ZMISSING", Mode.LISTEN, aws.REGION)
    assert missing is not None
    with pytest.raises(ClientError, match="NoSuchHostedZone"):
        missing.bring(store, for_ever)


def gone(action: str) -> dict[str, object]:
    record = {"Name": "gone.shop.local.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "127.254.0.9"}]}
    return {"Action": action, "ResourceRecordSet": record}
