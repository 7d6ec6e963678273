"""HTTP/2 connections to an endpoint: room, waiting, refusals, ends."""

from __future__ import annotations

import pytest

from sidecar.core.http.fields import MAX_INFORMATIONAL
from sidecar.core.http.http2 import PREFACE
from sidecar.core.http.http2_events import CANCEL, NO_ERROR, REFUSED_STREAM, GoAway
from sidecar.core.http.http2_limits import MAX_OWN_STREAMS, STREAM_WINDOW
from sidecar.core.http.messages import UNKNOWN_LENGTH, RequestHead, ResponseHead
from sidecar.core.routing.policy import CircuitBreaker, Policy, Retries
from sidecar.proxy.base.runtime import HIGH_WATER_BYTES
from sidecar.proxy.upstream.http2 import IDLE_SECONDS, SETTINGS_SECONDS, Http2UpstreamConnection
from tests.support.proxy.fake_loop import FakeTransport
from tests.support.proxy.rig import Client, Http2Rig, Peer
from tests.support.wire import http2


def served(peer: Peer, status: int = 200) -> int:
    """Answer all requests that came; how many."""
    streams = [stream for stream, event in peer.take() if isinstance(event, RequestHead)]
    for stream in streams:
        peer.codec.send_response(stream, ResponseHead(status, []))
    return len(streams)


def streams_of(peer: Peer) -> list[int]:
    return [stream for stream, event in peer.take() if isinstance(event, RequestHead)]


def statuses(client: Client) -> list[int]:
    return [event.status for _, event in client.take() if isinstance(event, ResponseHead)]


def warm(rig: Http2Rig, endpoint: int = 0, streams: int | None = None) -> Peer:
    """A connection that is there before anybody asks."""
    rig.pool(endpoint)._opening += 1  # as if a request that has gone since had wanted it
    rig.cluster.connections += 1
    settings = None if streams is None else http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, streams))
    return rig.upstream(endpoint, settings)


def test_a_request_opens_a_connection_and_those_after_it_share_it() -> None:
    rig = Http2Rig()
    client = rig.client()
    client.ask()
    assert rig.connects() == 1
    upstream = rig.upstream()
    for _ in range(5):
        client.ask()
    assert rig.connects() == 0
    assert served(upstream) == 6
    assert statuses(client) == [200] * 6
    assert rig.settled()


def test_before_its_settings_a_connection_takes_one_request() -> None:
    rig = Http2Rig()
    client = rig.client()
    for _ in range(3):
        client.ask()
    assert rig.connects() == 1
    upstream = rig.upstream(settle=False)
    assert len(http2.parse(upstream.transport.take()[len(PREFACE) :])[0]) == 3, "SETTINGS, a window, a request"
    assert rig.cluster.pending_requests == 2
    assert rig.connects() == 0, "it will take the others too"
    upstream.transport.receive(http2.frame(http2.SETTINGS))
    assert rig.cluster.pending_requests == 0


def test_settings_that_do_not_come_are_not_waited_for_long() -> None:
    rig = Http2Rig()
    client = rig.client()
    for _ in range(3):
        client.ask()
    rig.upstream(settle=False)
    rig.advance(SETTINGS_SECONDS + 0.1)
    assert rig.cluster.pending_requests == 0


def test_the_peers_limit_is_kept_by_another_connection() -> None:
    rig = Http2Rig()
    client = rig.client()
    for _ in range(5):
        client.ask()
    assert rig.connects() == 1
    few = http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 2))
    upstreams = [rig.upstream(settings=few)]
    assert rig.connects() == 1
    upstreams.append(rig.upstream(settings=few))
    assert rig.connects() == 1
    upstreams.append(rig.upstream(settings=few))
    assert [served(upstream) for upstream in upstreams] == [2, 2, 1]
    assert statuses(client) == [200] * 5
    assert rig.connects() == 0
    assert rig.settled()


def test_a_stream_that_ends_serves_who_waits() -> None:
    rig = Http2Rig(policy=Policy(circuit_breaker=CircuitBreaker(max_connections=1)))
    client = rig.client()
    for _ in range(3):
        client.ask()
    upstream = rig.upstream(settings=http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 1)))
    assert rig.connects() == 1, "and no second one"
    for left in (2, 1, 0):
        assert rig.cluster.pending_requests == left
        assert served(upstream) == 1
        rig.run()
    assert statuses(client) == [200] * 3
    assert rig.settled()


def test_no_more_connections_than_the_circuit_breaker_allows() -> None:
    rig = Http2Rig(policy=Policy(circuit_breaker=CircuitBreaker(max_connections=1)))
    client = rig.client()
    upstream = warm(rig, streams=1)
    client.ask()
    client.ask()
    assert (rig.connects(), rig.cluster.pending_requests) == (0, 1)
    for _ in range(2):
        assert served(upstream) == 1
        rig.run()
    assert statuses(client) == [200, 200]
    assert rig.settled()


def test_what_waits_is_bounded() -> None:
    rig = Http2Rig(policy=Policy(circuit_breaker=CircuitBreaker(max_pending_requests=2)))
    client = rig.client()
    for _ in range(3):
        client.ask()
    assert statuses(client) == [503]
    assert rig.cluster.pending_requests == 2


def test_one_client_connection_carries_as_many_calls_as_its_client_begins() -> None:
    """As a gRPC channel does, whose library waits without a word where a connection takes no more streams."""
    rig = Http2Rig()
    client = rig.client()
    for _ in range(3 * MAX_OWN_STREAMS):
        client.ask()
    upstreams = [rig.upstream() for _ in range(3)]
    assert [served(upstream) for upstream in upstreams] == [MAX_OWN_STREAMS] * 3
    client.transport.lose()
    assert rig.settled()


def test_many_waiting_requests_open_as_many_connections_as_they_need() -> None:
    rig = Http2Rig()
    clients = [rig.client() for _ in range(3)]
    for client in clients:
        for _ in range(MAX_OWN_STREAMS - 10):
            client.ask()
    assert rig.connects() == 3
    upstreams = [rig.upstream() for _ in range(3)]
    assert rig.connects() == 0
    counts = [served(upstream) for upstream in upstreams]
    assert sum(counts) == 3 * (MAX_OWN_STREAMS - 10)
    assert max(counts) <= MAX_OWN_STREAMS
    assert [len(statuses(client)) for client in clients] == [MAX_OWN_STREAMS - 10] * 3
    assert rig.settled()


def test_a_connection_that_cannot_be_made_fails_all_who_wait_for_it() -> None:
    rig = Http2Rig(policy=Policy(retries=Retries(count=0)))
    client = rig.client()
    for _ in range(3):
        client.ask()
    rig.pool().not_connected("refused")
    assert statuses(client) == [503] * 3
    assert (rig.cluster.connections, rig.client_meter.connect_errors) == (0, 1)
    assert rig.settled()


def test_a_connection_that_closes_at_once_fails_them_too() -> None:
    rig = Http2Rig(policy=Policy(retries=Retries(count=0)))
    client = rig.client()
    for _ in range(3):
        client.ask(b"POST")
    upstream = rig.upstream(settle=False)
    upstream.transport.lose()
    assert statuses(client) == [503, 503, 503], "nobody has read the first: there were no SETTINGS"
    assert rig.cluster.connections == 0
    assert rig.settled()


def test_a_connection_lost_before_it_is_known_is_not_kept() -> None:
    rig = Http2Rig(policy=Policy(retries=Retries(count=0)))
    client = rig.client()
    client.ask(b"POST")
    client.ask(b"POST")
    FakeTransport(rig.loop, Http2UpstreamConnection(rig.pool())).lose()
    rig.run()
    assert statuses(client) == [503, 503]
    assert rig.connects() == 1
    client.ask()
    assert rig.connects() == 1


def test_an_http1_server_fails_those_who_wait() -> None:
    rig = Http2Rig(policy=Policy(retries=Retries(count=0)))
    client = rig.client()
    client.ask()
    client.ask()
    upstream = rig.upstream(settle=False)
    upstream.transport.receive(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    rig.run()
    assert upstream.transport.lost
    assert sorted(statuses(client)) == [502, 503]
    assert rig.settled()


# GOAWAY and refusals.


def test_streams_above_the_last_of_a_goaway_go_elsewhere_whatever_their_method() -> None:
    rig = Http2Rig(endpoints=2)
    client = rig.client()
    first, second = warm(rig, 0), warm(rig, 1)
    asked = [client.ask(b"POST") for _ in range(6)]
    before = {peer: streams_of(peer) for peer in (first, second)}
    kept = before[first][0]
    first.codec._connection.send_goaway(0, last_stream_id=kept)
    rig.run()
    first.codec.send_response(kept, ResponseHead(200, []))
    for stream in before[second]:
        second.codec.send_response(stream, ResponseHead(200, []))
    assert served(second) == len(before[first]) - 1
    assert statuses(client) == [200] * len(asked)
    rig.run()
    assert first.transport.lost
    assert rig.client_meter.retries == len(before[first]) - 1
    assert rig.settled()


def test_a_notice_of_shutdown_moves_new_requests_and_ends_none() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    client.ask(b"POST")
    (stream,) = streams_of(upstream)
    upstream.codec.shutdown_notice()
    rig.run()
    assert not upstream.transport.is_closing()
    client.ask(b"POST")
    assert rig.connects() == 1
    upstream.codec.send_response(stream, ResponseHead(200, []))
    rig.run()
    assert upstream.transport.lost
    assert served(rig.upstream()) == 1
    assert statuses(client) == [200, 200]
    assert rig.settled()


def test_a_refused_stream_goes_to_another_endpoint_whatever_its_method() -> None:
    rig = Http2Rig(endpoints=2)
    client = rig.client()
    peers = [warm(rig, 0), warm(rig, 1)]
    client.ask(b"POST")
    refused = [streams_of(peer) for peer in peers]
    unlucky = 0 if refused[0] else 1
    peers[unlucky].codec.reset(refused[unlucky][0], REFUSED_STREAM)
    assert served(peers[1 - unlucky]) == 1
    assert statuses(client) == [200]
    assert rig.settled()


def test_a_stream_that_was_reset_otherwise_goes_elsewhere_only_if_it_may() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    client.ask(b"POST")
    client.ask(b"GET")
    for stream in streams_of(upstream):
        upstream.codec.reset(stream, http2.INTERNAL_ERROR)
    assert served(upstream) == 1
    assert statuses(client) == [502, 200]
    assert rig.settled()


def test_a_connection_lost_with_many_streams_answers_all_of_them() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    for _ in range(50):
        client.ask(b"POST")
    begun = streams_of(upstream)
    for stream in begun[:10]:
        upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    rig.run()
    upstream.transport.lose()
    heard = client.heard()
    assert [event[2] for event in heard if isinstance(event, tuple) and event[1] == "reset"] == [2] * 10
    assert sum(event[2] == 502 for event in heard if isinstance(event, tuple) and event[1] == "response") == 40
    assert not client.transport.is_closing()
    assert rig.cluster.connections == 0
    assert rig.settled()


def test_a_malformed_answer_is_told_as_such_and_costs_no_other() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    first, second = client.ask(), client.ask()
    bad, good = streams_of(upstream)
    upstream.transport.receive(http2.request([(b":status", b"200"), (b"X", b"y")], bad))
    upstream.codec.send_response(good, ResponseHead(200, []))
    heads = {stream: event for stream, event in client.take() if isinstance(event, ResponseHead)}
    assert heads[first].status == 502
    assert heads[first].get(b"tramo-response-flags") == b"UPE"
    assert heads[second].status == 200
    assert rig.settled()


def test_a_broken_connection_answers_all_as_malformed() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    client.ask()
    rig.run()
    upstream.transport.receive(b"\xff" * 100)
    rig.run()
    assert upstream.transport.lost
    assert statuses(client) == [502]
    assert rig.settled()


def test_a_clients_data_on_a_connection_that_has_just_broken_harms_nobody() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    stream = client.ask(b"POST", UNKNOWN_LENGTH)
    upstream.transport.receive(b"\xff" * 100, settle=False)
    client.codec.send_data(stream, b"late")
    client.transport.receive(client.codec.output(), settle=False)
    rig.run()
    assert statuses(client) == [502]
    assert not client.transport.is_closing()
    assert rig.settled()


def test_informational_answers_are_counted() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    client.ask()
    (stream,) = streams_of(upstream)
    hint = http2.request([(b":status", b"103")], stream, end=False)
    upstream.transport.receive(hint * MAX_INFORMATIONAL)
    assert statuses(client) == [103] * MAX_INFORMATIONAL
    upstream.transport.receive(hint)
    assert statuses(client) == [502]
    assert rig.settled()


def test_a_switch_of_protocols_is_malformed() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    client.ask()
    (stream,) = streams_of(upstream)
    upstream.transport.receive(http2.request([(b":status", b"101")], stream, end=False))
    assert statuses(client) == [502]
    assert rig.settled()


# Answers without a body, and answers that come early.


@pytest.mark.parametrize("length", [5, UNKNOWN_LENGTH])
def test_an_answer_to_head_has_no_body_whatever_it_says(length: int) -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    asked = client.ask(b"HEAD")
    (stream,) = streams_of(upstream)
    upstream.codec.send_response(stream, ResponseHead(200, [], length))
    upstream.codec.send_end(stream, [])
    told = ((b"content-length", b"5"),) if length == 5 else ()
    assert client.heard() == [(asked, "response", 200, told, 0), (asked, "end", ())]


def test_an_early_answer_ends_the_request() -> None:
    rig = Http2Rig()
    client = rig.client()
    upstream = warm(rig)
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    client.codec.send_data(asked, b"half of it")
    (stream,) = streams_of(upstream)
    upstream.codec.send_response(stream, ResponseHead(413, []))
    assert client.heard() == [
        (asked, "response", 413, (), 0),
        (asked, "end", ()),
        (asked, "reset", NO_ERROR, False),
    ]
    assert upstream.heard() == [(stream, "reset", CANCEL, False)]
    assert rig.settled()


# Flow.


def answering(rig: Http2Rig, client: Client, upstream: Peer) -> tuple[int, int]:
    """A request whose answer has begun; its streams at both ends."""
    asked = client.ask()
    (stream,) = streams_of(upstream)
    upstream.codec.send_response(stream, ResponseHead(200, [], UNKNOWN_LENGTH))
    rig.run()
    return asked, stream


def test_an_endpoint_is_slowed_down_by_a_client_that_does_not_read() -> None:
    rig = Http2Rig()
    client, upstream = rig.client(), warm(rig)
    asked, stream = answering(rig, client, upstream)
    upstream.codec.send_data(stream, bytes(1_000_000))
    rig.run()
    received = sum(len(event) for _, event in client.take() if isinstance(event, bytes))
    assert received == STREAM_WINDOW
    assert upstream.codec.queued(stream) > 1_000_000 - STREAM_WINDOW - 2 * HIGH_WATER_BYTES - STREAM_WINDOW
    for _ in range(100):
        client.codec.acknowledge(asked, received)
        received = sum(len(event) for _, event in client.take() if isinstance(event, bytes))
        if not received:
            break
    assert upstream.codec.queued(stream) == 0


def test_a_client_is_slowed_down_by_an_endpoint_that_does_not_read() -> None:
    rig = Http2Rig()
    client, upstream = rig.client(), warm(rig)
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    (stream,) = streams_of(upstream)
    client.codec.send_data(asked, bytes(1_000_000))
    rig.run()
    received = sum(len(event) for _, event in upstream.take() if isinstance(event, bytes))
    assert received == STREAM_WINDOW
    assert client.codec.queued(asked) > 1_000_000 - 2 * STREAM_WINDOW - 2 * HIGH_WATER_BYTES
    total = received
    for _ in range(100):
        upstream.codec.acknowledge(stream, received)
        received = sum(len(event) for _, event in upstream.take() if isinstance(event, bytes))
        total += received
        if not received:
            break
    assert total == 1_000_000


def test_stalled_clients_stall_nobody_else_on_the_connection() -> None:
    rig = Http2Rig()
    upstream = warm(rig)
    for _ in range(40):
        stalled = rig.client()
        _, stream = answering(rig, stalled, upstream)
        upstream.codec.send_data(stream, bytes(300_000))
    rig.run()
    client = rig.client()
    asked, stream = answering(rig, client, upstream)
    upstream.codec.send_data(stream, bytes(50_000))
    upstream.codec.send_end(stream, [])
    assert client.heard()[-2:] == [(asked, "data", bytes(50_000)), (asked, "end", ())]


@pytest.mark.parametrize("end", ["reset", "close"])
def test_a_client_that_leaves_gives_its_share_of_the_window_back(end: str) -> None:
    rig = Http2Rig()
    upstream = warm(rig)
    for _ in range(300):  # many times the connection's window
        client = rig.client()
        asked, stream = answering(rig, client, upstream)
        upstream.codec.send_data(stream, bytes(200_000))
        rig.run()
        assert upstream.codec.queued(stream) <= 200_000 - STREAM_WINDOW, "the connection's window has leaked"
        if end == "reset":
            client.codec.reset(asked, CANCEL)
            rig.run()
        client.transport.lose()
        rig.peers.remove(client)
        rig.run()
        assert upstream.codec.queued(stream) == 0
    assert rig.settled()


def test_a_full_socket_stops_what_would_be_written() -> None:
    rig = Http2Rig()
    client, upstream = rig.client(), warm(rig)
    upstream.transport.blocked = True
    asked = client.ask(b"POST", UNKNOWN_LENGTH)
    for _ in range(100):
        client.codec.send_data(asked, bytes(60_000))
        rig.run()
    assert len(upstream.transport.waiting) + client.codec.queued(asked) >= 5_000_000
    assert len(upstream.transport.waiting) < 4 * HIGH_WATER_BYTES
    upstream.transport.unblock()
    rig.run()
    assert sum(len(event) for _, event in upstream.take() if isinstance(event, bytes)) == STREAM_WINDOW


# Ends of connections.


def test_an_idle_connection_is_closed_before_the_other_side_does() -> None:
    rig = Http2Rig()
    client, upstream = rig.client(), warm(rig)
    client.ask()
    served(upstream)
    rig.run()
    rig.advance(IDLE_SECONDS - 1)
    assert not upstream.transport.is_closing()
    rig.advance(2)
    assert upstream.transport.lost
    assert rig.cluster.connections == 0
    assert any(isinstance(event, GoAway) for _, event in upstream.take())


def test_a_connection_is_not_taken_once_it_is_being_closed() -> None:
    rig = Http2Rig()
    client, upstream = rig.client(), warm(rig)
    rig.pool().close_idle()
    assert upstream.transport.is_closing()
    client.codec.send_request(RequestHead(b"POST", b"/", b"orders", []))
    client.transport.receive(client.codec.output(), settle=False)  # before the loop has said that it is closed
    rig.run()
    assert rig.connects() == 1
    assert served(rig.upstream()) == 1
    assert statuses(client) == [200]
    assert rig.settled()


def test_a_retired_endpoint_finishes_its_streams() -> None:
    rig = Http2Rig(endpoints=2)
    client = rig.client()
    peers = [warm(rig, 0), warm(rig, 1)]
    client.ask(b"POST")
    streams = [streams_of(peer) for peer in peers]
    busy = 0 if streams[0] else 1
    records = tuple(record for index, record in enumerate(rig.records) if index != busy)
    retired = rig.cluster.update("http2", Policy(), records, "", rig.runtime.now())
    for endpoint in retired:
        rig.destination.pool(endpoint).close_idle()
    rig.run()
    assert not peers[busy].transport.is_closing()
    peers[busy].codec.send_response(streams[busy][0], ResponseHead(200, []))
    assert statuses(client) == [200]
    assert peers[busy].transport.lost
    assert rig.settled()
