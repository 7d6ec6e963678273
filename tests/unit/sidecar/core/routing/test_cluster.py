"""The endpoints of a service across snapshots, and picks among them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import EJECTED, HEALTHY
from sidecar.core.routing.policy import (
    DEFAULT,
    CircuitBreaker,
    HealthCheck,
    LoadBalancing,
    OutlierDetection,
    Policy,
    Timeouts,
)
from sidecar.core.snapshot import EndpointRecord
from sidecar.core.states import AppProtocol

NOW = 1000.0
DRAWS = range(0, 1 << 32, 99_999_989)


def record(number: int, state: str = "ready", zone: str = "a") -> EndpointRecord:
    return EndpointRecord(f"e{number}", "10.0.0.1", 8000 + number, state, zone)


def cluster(count: int, policy: Policy = DEFAULT) -> Cluster:
    found = Cluster("orders", "http", policy)
    update(found, *(record(number) for number in range(count)), policy=policy)
    return found


def update(found: Cluster, *records: EndpointRecord, policy: Policy = DEFAULT, zone: str = "a") -> list[str]:
    return [endpoint.id for endpoint in found.update("http", policy, records, zone, NOW)]


def eject(found: Cluster, number: int, now: float = NOW) -> bool:
    return bool([found.fail(found.endpoints[number], now) for _ in range(5)][-1])


def test_an_endpoint_that_stays_keeps_what_is_known_of_it() -> None:
    found = cluster(3)
    eject(found, 0)
    kept = found.endpoints[0]
    kept.active = 7
    assert update(found, record(0), record(2), record(3)) == ["e1"]
    assert found.endpoints[0] is kept
    assert (kept.health, kept.active) == (EJECTED, 7)
    assert [endpoint.id for endpoint in found.endpoints] == ["e0", "e2", "e3"]


def test_an_endpoint_that_leaves_routing_is_told() -> None:
    found = cluster(3)
    gone = found.endpoints[2]
    assert update(found, record(0), record(1, "draining")) == ["e1", "e2"]
    assert gone.state == "gone"
    assert update(found, record(0), record(1, "draining")) == [], "once"
    assert found.ready_endpoints() == 1


def test_an_endpoint_speaks_its_own_protocol_or_else_the_services() -> None:
    found = Cluster("orders", "http", DEFAULT)
    records = (record(0), replace(record(1), protocol="grpc"), replace(record(2), protocol="http"))
    found.update("http2", DEFAULT, records, "a", NOW)
    assert [endpoint.protocol for endpoint in found.endpoints] == ["http2", "grpc", "http"]
    before = list(found.endpoints)
    retired = found.update("grpc", DEFAULT, records, "a", NOW)
    assert retired == before[:1], "only the one that says nothing speaks another protocol now"
    assert [endpoint.protocol for endpoint in found.endpoints] == ["grpc", "grpc", "http"]
    assert found.endpoints[1:] == before[1:]


@pytest.mark.parametrize(("service", "chosen"), [("http", ["e0", "e1"]), ("tcp", ["e2"])])
def test_an_endpoint_of_the_other_kind_is_not_chosen_and_counted(service: AppProtocol, chosen: list[str]) -> None:
    protocols: tuple[AppProtocol, ...] = ("http", "grpc", "tcp")
    records = tuple(replace(record(number), protocol=protocol) for number, protocol in enumerate(protocols))
    found = Cluster("orders", service, DEFAULT)
    found.update(service, DEFAULT, records, "a", NOW)
    assert [endpoint.id for endpoint in found.endpoints] == chosen
    assert found.other_kind == 3 - len(chosen)
    assert {picked.id for draw in DRAWS if (picked := found.pick(NOW, draw, [])) is not None} == set(chosen)


def test_endpoints_of_the_other_kind_are_no_last_resort() -> None:
    found = cluster(2)
    spoken = tuple(replace(record(number), protocol="http") for number in range(2))
    assert {each.id for each in found.update("tcp", DEFAULT, spoken, "a", NOW)} == {"e0", "e1"}
    assert found.pick(NOW, 0, []) is None
    found.update("http", DEFAULT, spoken, "a", NOW)
    assert found.pick(NOW, 0, []) is not None


def test_an_endpoint_with_a_new_address_is_another_one() -> None:
    found = cluster(1)
    before = found.endpoints[0]
    moved = EndpointRecord("e0", "10.0.0.9", 8000, "ready")
    assert update(found, moved) == ["e0"]
    assert found.endpoints[0] is not before
    assert before.state == "gone"


def test_zones() -> None:
    found = cluster(0)
    update(
        found, record(0, zone="a"), record(1, zone="b"), EndpointRecord("e2", "10.0.0.1", 1, "ready", None), zone="a"
    )
    assert [found.in_zone(endpoint) for endpoint in found.endpoints] == [True, False, True]
    update(found, record(0, zone="a"), record(1, zone="b"), zone="")
    assert all(found.in_zone(endpoint) for endpoint in found.endpoints)


def test_what_every_request_asks_of_the_policy_follows_it() -> None:
    cluster = Cluster("orders", "http", DEFAULT)
    timeouts = Timeouts(request_seconds=1.0, per_try_seconds=2.0, idle_seconds=3.0)
    policy = Policy(LoadBalancing("round_robin"), timeouts=timeouts, circuit_breaker=CircuitBreaker(max_requests=4))
    for policy_now in (policy, DEFAULT):
        cluster.update("http", policy_now, (), "", 0.0)
        assert cluster.policy is policy_now
        assert cluster.max_requests == policy_now.circuit_breaker.max_requests
        kept = (cluster.request_seconds, cluster.per_try_seconds, cluster.idle_seconds)
        now = policy_now.timeouts
        assert kept == (now.request_seconds, now.per_try_seconds, now.idle_seconds)
        assert cluster.in_turn == (policy_now is policy)


def test_no_endpoint_no_pick() -> None:
    assert cluster(0).pick(NOW, 0, []) is None
    only_starting = cluster(0)
    update(only_starting, record(0, "starting"))
    assert only_starting.pick(NOW, 0, []) is None


def test_an_endpoint_tried_before_comes_last() -> None:
    found = cluster(3)
    tried = found.endpoints[:2]
    assert {found.pick(NOW, draw, tried) for draw in DRAWS} == {found.endpoints[2]}
    assert found.pick(NOW, 0, found.endpoints) in found.endpoints


def test_round_robin_goes_round() -> None:
    found = cluster(3, Policy(load_balancing=LoadBalancing("round_robin")))
    picks = [found.pick(NOW, 0, []) for _ in range(9)]
    assert set(Counter(picks).values()) == {3}
    assert picks[:3] == picks[3:6] == picks[6:]


def test_retries_do_not_disturb_the_turn() -> None:
    found = cluster(2, Policy(load_balancing=LoadBalancing("round_robin")))
    first = []
    for _ in range(6):
        picked = found.pick(NOW, 0, [])
        assert picked is not None
        first.append(picked)
        if picked is found.endpoints[0]:
            assert found.pick(NOW, 0, [picked]) is found.endpoints[1]
    assert first.count(found.endpoints[0]) == 3


def test_ejection_takes_effect_at_once_and_ends_with_a_probe() -> None:
    found = cluster(2)
    found.pick(NOW, 0, [])  # the list of choices is kept from here on
    assert eject(found, 0)
    assert {found.pick(NOW, draw, []) for draw in DRAWS} == {found.endpoints[1]}
    due = NOW + DEFAULT.outlier_detection.base_ejection_seconds
    probe = found.pick(due, 0, [])
    assert probe is found.endpoints[0], "it is due, however dear its failures have made it"
    generation = probe.begin(due)
    assert probe.health_name() == "probing"
    assert {found.pick(due, draw, []) for draw in DRAWS} == {found.endpoints[1]}
    found.succeed(probe, due, 0.001)
    probe.end(generation)
    assert probe.health == HEALTHY
    assert len({found.pick(due, draw, []) for draw in DRAWS}) == 2


def test_a_probe_is_not_given_to_a_request_that_failed_there() -> None:
    found = cluster(2)
    eject(found, 0)
    due = NOW + DEFAULT.outlier_detection.base_ejection_seconds
    assert found.pick(due, 0, [found.endpoints[0]]) is found.endpoints[1]


def test_no_more_than_half_are_ejected() -> None:
    found = cluster(5)
    assert [eject(found, number) for number in range(5)] == [True, True, False, False, False]


@pytest.mark.parametrize(("endpoints", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (9, 4)])
def test_small_services_keep_at_least_half_of_their_endpoints(endpoints: int, most: int) -> None:
    found = cluster(endpoints)
    assert [eject(found, number) for number in range(endpoints)].count(True) == most
    assert len(picks(found)) == endpoints - most


def test_who_is_kept_by_the_cap_goes_as_soon_as_another_is_back() -> None:
    found = cluster(2)
    assert eject(found, 0)
    assert not eject(found, 1)
    due = NOW + DEFAULT.outlier_detection.base_ejection_seconds
    probe = found.pick(due, 0, [])
    assert probe is found.endpoints[0]
    probe.begin(due)
    assert not found.fail(found.endpoints[1], due), "not while the probe is under way"
    found.succeed(probe, due, 0.001)
    assert found.fail(found.endpoints[1], due)
    assert picks(found, due) == {"e0"}


def test_the_only_endpoint_is_never_ejected() -> None:
    everything = Policy(outlier_detection=OutlierDetection(max_ejection_percent=100.0))
    assert not eject(cluster(1, everything), 0)
    two = cluster(2, everything)
    assert eject(two, 0)
    assert eject(two, 1)


def test_outlier_detection_can_be_turned_off() -> None:
    off = Policy(outlier_detection=OutlierDetection(consecutive_failures=0))
    found = cluster(3, off)
    assert not eject(found, 0)
    assert found.endpoints[0].health == HEALTHY


def test_a_new_snapshot_is_picked_from_at_once() -> None:
    found = cluster(1)
    found.pick(NOW, 0, [])
    update(found, record(5))
    picked = found.pick(NOW, 0, [])
    assert picked is not None
    assert picked.id == "e5"


STATES = st.sampled_from(["ready", "draining", "unhealthy", "starting"])
SNAPSHOTS = st.lists(st.dictionaries(st.integers(0, 5), STATES, max_size=6), min_size=1, max_size=6)


@given(SNAPSHOTS, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=60), st.integers(0, 2**32 - 1))
def test_whatever_happens_a_usable_endpoint_is_picked(
    snapshots: list[dict[int, str]], failures: list[tuple[int, int]], draw: int
) -> None:
    found = cluster(3)
    now = NOW
    for states in snapshots:
        update(found, *(record(number, state) for number, state in states.items()))
        for number, seconds in failures:
            now += seconds
            endpoint = found.by_id.get(f"e{number}")
            if endpoint is not None:
                generation = endpoint.begin(now)
                found.fail(endpoint, now)
                endpoint.end(generation)
        picked = found.pick(now, draw, [])
        usable = set(states.values()) & {"ready", "draining", "unhealthy"}
        if states:
            assert (picked is not None) == bool(usable)
        else:
            assert picked is None or picked.state == "gone", "the last resort"
        if picked is not None and "ready" in usable:
            assert picked.state == "ready"
        ready = [endpoint for endpoint in found.endpoints if endpoint.state == "ready"]
        if len(ready) == len(found.endpoints) == len(states) and len(snapshots) == 1:
            assert sum(endpoint.health != HEALTHY for endpoint in ready) <= len(ready) / 2


def test_endpoints_that_vanish_while_ready_are_the_last_resort_for_a_while() -> None:
    found = cluster(2)
    before = set(found.endpoints)
    assert update(found) == ["e0", "e1"]
    assert found.endpoints == []
    assert found.ready_endpoints() == 0
    assert {found.pick(NOW + 299.0, draw, []) for draw in DRAWS} == before
    assert found.pick(NOW + 300.0, 0, []) is None


def test_endpoints_that_drained_before_they_went_are_not_missed() -> None:
    found = cluster(1)
    update(found, record(0, "draining"))
    assert update(found) == ["e0"]
    assert found.pick(NOW, 0, []) is None


def test_a_new_endpoint_ends_the_last_resort() -> None:
    found = cluster(1)
    update(found)
    update(found, record(7))
    assert {endpoint.id for draw in DRAWS if (endpoint := found.pick(NOW, draw, []))} == {"e7"}
    update(found, record(7, "draining"))
    update(found)
    assert found.pick(NOW, 0, []) is None


# Active health checks.

CHECKED = Policy(health_check=HealthCheck("http", unhealthy_threshold=1, healthy_threshold=1))


def checked(count: int) -> Cluster:
    found = cluster(count, CHECKED)
    for endpoint in found.endpoints:
        found.watch(endpoint, True)
    return found


def picks(found: Cluster, now: float = NOW) -> set[str]:
    return {endpoint.id for draw in DRAWS if (endpoint := found.pick(now, draw, []))}


def test_an_endpoint_that_fails_its_checks_gets_nothing_until_it_passes() -> None:
    found = checked(3)
    assert picks(found) == {"e0", "e1", "e2"}, "unknown is as good as passing"
    assert found.check(found.endpoints[1], "down", NOW)
    assert picks(found) == {"e0", "e2"}
    assert not found.check(found.endpoints[1], "down", NOW)
    assert found.check(found.endpoints[1], "", NOW)
    assert picks(found) == {"e0", "e1", "e2"}


def test_when_all_fail_their_checks_all_are_tried() -> None:
    found = checked(2)
    for endpoint in found.endpoints:
        found.check(endpoint, "down", NOW)
    assert picks(found) == {"e0", "e1"}
    found.check(found.endpoints[0], "", NOW)
    assert picks(found) == {"e0"}


def test_when_the_rest_is_ejected_all_ready_ones_are_tried() -> None:
    found = checked(2)
    assert eject(found, 0)
    found.check(found.endpoints[1], "down", NOW)
    assert picks(found) == {"e0", "e1"}


def test_a_check_that_passes_ends_no_ejection() -> None:
    """Else an app that answers its health check and fails all else would come and go."""
    found = checked(2)
    assert eject(found, 0)
    for second in range(29):
        assert not found.check(found.endpoints[0], "", NOW + second)
        assert picks(found, NOW + second) == {"e1"}


def test_who_comes_back_by_its_checks_is_probed_by_one_request() -> None:
    found = checked(2)
    assert eject(found, 0)
    found.check(found.endpoints[0], "down", NOW + 1.0)
    due = NOW + DEFAULT.outlier_detection.base_ejection_seconds
    assert picks(found, due) == {"e1"}, "no probe while its checks fail"
    found.check(found.endpoints[0], "", due + 1.0)
    probe = found.pick(due + 1.0, 0, [])
    assert probe is found.endpoints[0]
    probe.begin(due + 1.0)
    assert picks(found, due + 1.0) == {"e1"}


def test_who_comes_back_by_its_checks_need_not_sit_out_an_old_ejection() -> None:
    found = checked(2)
    assert eject(found, 0)
    found.check(found.endpoints[0], "down", NOW + 1.0)
    found.check(found.endpoints[0], "", NOW + 2.0)
    assert found.pick(NOW + 2.0, 0, []) is found.endpoints[0]


def test_endpoints_that_fail_their_checks_count_towards_the_cap() -> None:
    found = checked(4)
    for number in (0, 1):
        found.check(found.endpoints[number], "down", NOW)
    assert not eject(found, 2)
    assert picks(found) == {"e2", "e3"}


def test_without_checks_nothing_is_remembered() -> None:
    found = checked(2)
    found.check(found.endpoints[0], "down", NOW)
    found.watch(found.endpoints[0], False)
    assert picks(found) == {"e0", "e1"}
    assert not found.check(found.endpoints[0], "down", NOW), "a check that was under way"


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["pass", "miss", "fail", "succeed"]), st.integers(0, 20)),
        max_size=80,
    ),
    st.integers(0, 2**32 - 1),
)
def test_checks_and_ejections_both_have_to_agree(history: list[tuple[int, str, int]], draw: int) -> None:
    found = checked(3)
    now = NOW
    for number, what, seconds in history:
        now += seconds
        endpoint = found.endpoints[number]
        if what in ("pass", "miss"):
            found.check(endpoint, "" if what == "pass" else "down", now)
        else:
            generation = endpoint.begin(now)
            if what == "fail":
                found.fail(endpoint, now)
            else:
                found.succeed(endpoint, now, 0.01)
            endpoint.end(generation)
        picked = found.pick(now, draw, [])
        assert picked is not None
        if any(endpoint.available(now) for endpoint in found.endpoints):
            assert picked.available(now)


# Slow start.

WINDOW = 60.0
SLOW = Policy(load_balancing=LoadBalancing("least_request", slow_start_seconds=WINDOW))
SLOW_IN_TURN = Policy(load_balancing=LoadBalancing("round_robin", slow_start_seconds=WINDOW))


def share(found: Cluster, id: str, now: float) -> float:
    """Of many requests, with nothing else under way."""
    random = Random(1)  # noqa: S311 -- the same draws each time
    draws = [random.getrandbits(48) for _ in range(10_000)]
    return sum(1 for draw in draws if (picked := found.pick(now, draw, [])) and picked.id == id) / len(draws)


@pytest.mark.parametrize("policy", [SLOW, SLOW_IN_TURN])
def test_a_new_endpoint_gets_its_share_by_and_by(policy: Policy) -> None:
    found = cluster(3, policy)
    update(found, *(record(number) for number in range(4)), policy=policy)
    shares = [share(found, "e3", NOW + seconds) for seconds in (0.0, 6.0, 30.0, 60.0, 600.0)]
    for seen, expected in zip(shares, (0.025, 0.025, 0.125, 0.25, 0.25), strict=True):
        assert abs(seen - expected) < 0.02, shares


def test_the_first_endpoints_of_a_service_do_not_start_slowly() -> None:
    found = cluster(4, SLOW)
    assert abs(share(found, "e3", NOW) - 0.25) < 0.02
    update(found, policy=SLOW)
    update(found, record(7), record(8), policy=SLOW)
    assert abs(share(found, "e7", NOW) - 0.5) < 0.02


def test_without_the_policy_a_new_endpoint_has_its_share_at_once() -> None:
    found = cluster(3)
    update(found, *(record(number) for number in range(4)))
    assert abs(share(found, "e3", NOW) - 0.25) < 0.02


def test_an_endpoint_that_becomes_ready_starts_slowly_and_once() -> None:
    found = cluster(1, SLOW)
    update(found, record(0), record(1, "starting"), policy=SLOW)
    update(found, record(0), record(1), policy=SLOW)
    assert share(found, "e1", NOW) < 0.1
    found.update("http", SLOW, (record(0), record(1), record(2)), "a", NOW + WINDOW)
    assert share(found, "e2", NOW + WINDOW) < 0.1
    assert share(found, "e1", NOW + WINDOW) > 0.4, "a new snapshot does not send it back to the start"


def test_after_an_ejection_an_endpoint_starts_slowly() -> None:
    found = cluster(2, SLOW)
    eject(found, 0)
    due = NOW + DEFAULT.outlier_detection.base_ejection_seconds
    probe = found.pick(due, 0, [])
    assert probe is found.endpoints[0]
    generation = probe.begin(due)
    found.succeed(probe, due, 0.001)
    probe.end(generation)
    assert share(found, "e0", due) < 0.1
    assert abs(share(found, "e0", due + WINDOW) - 0.5) < 0.02


def test_after_failing_its_checks_an_endpoint_starts_slowly() -> None:
    found = cluster(2, Policy(SLOW.load_balancing, health_check=CHECKED.health_check))
    found.watch(found.endpoints[0], True)
    found.check(found.endpoints[0], "down", NOW)
    assert share(found, "e0", NOW) == 0.0
    found.check(found.endpoints[0], "", NOW + 1.0)
    assert share(found, "e0", NOW + 1.0) < 0.1


def test_endpoints_that_start_slowly_take_all_when_nobody_else_is_there() -> None:
    found = cluster(1, SLOW)
    update(found, record(0), record(1), record(2), policy=SLOW)
    update(found, record(0, "draining"), record(1), record(2), policy=SLOW)
    assert abs(share(found, "e1", NOW) - 0.5) < 0.02
    assert found.pick(NOW, 0, [found.endpoints[1]]) is found.endpoints[2]


def test_an_endpoint_that_refuses_leaves_at_once_and_returns_by_a_probe() -> None:
    found = cluster(3)
    refusing = found.endpoints[0]
    assert found.refuse(refusing, NOW)
    assert not found.refuse(refusing, NOW), "once for all that were under way"
    assert {found.pick(NOW, draw, []) for draw in DRAWS} == set(found.endpoints[1:])
    now = NOW
    for seconds in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert refusing.ejected_until == now + seconds
        now = refusing.ejected_until
        assert found.pick(now, 0, []) is refusing
        generation = refusing.begin(now)
        assert {found.pick(now, draw, []) for draw in DRAWS} == set(found.endpoints[1:]), "one request probes"
        assert found.refuse(refusing, now)
        refusing.end(generation)
    now = refusing.ejected_until
    refusing.begin(now)
    refusing.succeed(now, 0.01)
    assert refusing.health == HEALTHY
    assert found.refuse(refusing, now)
    assert refusing.ejected_until == now + 1.0, "a success ends the doubling"


@given(refusing=st.sets(st.integers(0, 5)))
def test_refusals_have_no_cap_but_somebody_is_always_tried(refusing: set[int]) -> None:
    found = cluster(6)
    for number in refusing:
        found.refuse(found.endpoints[number], NOW)
    expected = set(range(6)) - refusing or set(range(6))
    picked = {found.pick(NOW, draw, []) for draw in DRAWS}
    assert picked <= {found.endpoints[number] for number in expected}
    assert found.has_another([], NOW) is (len(refusing) < 6)


def test_the_only_endpoint_is_judged_as_ever() -> None:
    found = cluster(1)
    for _ in range(20):
        assert not found.refuse(found.endpoints[0], NOW)
    assert found.endpoints[0].health == HEALTHY
    assert found.pick(NOW, 0, []) is found.endpoints[0]
