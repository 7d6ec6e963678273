"""The per-try time-out over HTTP/2: one stream is given up, not its connection, and an open stream not at all."""

from __future__ import annotations

from sidecar.core.http.http2_events import CANCEL
from sidecar.core.http.messages import UNKNOWN_LENGTH, Fields, RequestHead, ResponseHead
from sidecar.core.routing.policy import LoadBalancing, Policy, Timeouts
from tests.support.proxy.rig import Client, Http2Rig, Peer

GRPC: Fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]


def connected(endpoints: int = 1, **seconds: float) -> tuple[Http2Rig, Client, list[Peer]]:
    """Endpoints with a warm connection each, and a client."""
    policy = Policy(LoadBalancing("round_robin"), timeouts=Timeouts(per_try_seconds=1.0, **seconds))
    rig = Http2Rig(endpoints, policy)
    return rig, rig.client(), [rig.upstream(number) for number in range(endpoints)]


def asked_of(upstream: Peer) -> list[int]:
    return [stream for stream, event in upstream.take() if isinstance(event, RequestHead)]


def heads(client: Client) -> list[ResponseHead]:
    return [event for _, event in client.take() if isinstance(event, ResponseHead)]


def test_a_stream_is_given_up_and_another_endpoint_asked() -> None:
    rig, client, upstreams = connected(2)
    client.ask()
    first, second = sorted(upstreams, key=lambda upstream: not asked_of(upstream))
    rig.advance(1.1)
    assert first.heard() == [(1, "reset", CANCEL, False)]
    assert not first.transport.is_closing()
    (stream,) = asked_of(second)
    second.codec.send_response(stream, ResponseHead(204, []))
    rig.run()
    assert [head.status for head in heads(client)] == [204]
    assert rig.client_meter.retries == 1
    assert rig.settled()


def test_a_call_that_is_whole_is_given_up() -> None:
    rig, client, (upstream,) = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
    client.codec.send_end(asked, [])
    rig.run()
    upstream.heard()
    rig.advance(1.1)
    (head,) = heads(client)
    assert (head.get(b"grpc-status"), head.get(b"tramo-response-flags")) == (b"4", b"UT")
    assert rig.settled()


def test_a_stream_that_is_open_both_ways_is_not() -> None:
    """Neither by the per-try time-out, nor by the request's that has passed meanwhile, nor by an idle one of none."""
    for idle_seconds in (300.0, 0.0):
        rig, client, (upstream,) = connected(request_seconds=2.0, idle_seconds=idle_seconds)
        asked = client.ask(b"POST", UNKNOWN_LENGTH, GRPC)
        rig.advance(20)
        assert heads(client) == []
        client.codec.send_end(asked, [])
        rig.run()
        (stream,) = asked_of(upstream)
        upstream.codec.send_response(stream, ResponseHead(200, [*GRPC, (b"grpc-status", b"0")]))
        rig.run()
        assert [head.get(b"grpc-status") for head in heads(client)] == [b"0"]
        assert rig.settled()


def test_the_clients_own_deadline_comes_first() -> None:
    rig, client, (upstream,) = connected()
    asked = client.ask(b"POST", UNKNOWN_LENGTH, [*GRPC, (b"grpc-timeout", b"500m")])
    client.codec.send_end(asked, [])
    rig.run()
    upstream.heard()
    rig.advance(0.6)
    (head,) = heads(client)
    assert head.get(b"grpc-status") == b"4"
    rig.advance(2)
    assert heads(client) == []
    assert rig.client_meter.timeouts == 1
    assert rig.settled()
