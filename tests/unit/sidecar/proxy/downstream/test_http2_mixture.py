"""Everything at once, by chance: whatever clients and endpoints do, every request ends once and nothing is left."""

from __future__ import annotations

import random

import pytest

from sidecar.core.http.http2_events import CANCEL, NO_ERROR, REFUSED_STREAM, Reset
from sidecar.core.http.messages import UNKNOWN_LENGTH, End, Fields, RequestHead, ResponseHead
from sidecar.core.routing.policy import CircuitBreaker, Policy
from tests.support.proxy.rig import Client, Http2Rig, Peer
from tests.support.wire import http2

GRPC: Fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
TIGHT = Policy(circuit_breaker=CircuitBreaker(max_connections=3, max_pending_requests=5, max_requests=30))
STEPS = 150


class Mixture:
    """One run: some clients, two endpoints, and a step after the other."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - it must be repeatable
        self.rig = Http2Rig(endpoints=2, policy=self.random.choice((Policy(), TIGHT)))
        self.clients: list[Client] = []
        self.upstreams: list[Peer] = []
        self.asked: dict[Client, dict[int, bool]] = {}  # stream → whether the request is whole
        self.taken: dict[Peer, dict[int, bool]] = {}  # stream → whether the answer has begun
        self.ended: dict[tuple[Client, int], str] = {}

    def step(self) -> None:
        """Something happens."""
        actions = (
            (3, self.ask), (3, self.more), (4, self.answer), (2, self.connect), (1, self.fail_to_connect),
            (1, self.cancel), (1, self.refuse), (1, self.break_off), (1, self.go_away), (1, self.leave),
            (1, self.lose), (1, self.advance), (1, self.garbage),
        )  # fmt: skip
        weights = [weight for weight, _ in actions]
        self.random.choices([action for _, action in actions], weights)[0]()
        if self.random.random() < 0.7:
            self.settle()

    def settle(self) -> None:
        """Carry bytes and note what was heard."""
        self.rig.run()
        for client in self.clients:
            for stream, event in client.take():
                if isinstance(event, bytes) and self.random.random() < 0.9:
                    client.codec.acknowledge(stream, len(event))
                elif isinstance(event, End):
                    assert self.ended.get((client, stream)) in (None, "cancelled"), "answered twice"
                    self.ended[client, stream] = "end"
                elif isinstance(event, Reset) and (client, stream) not in self.ended:
                    self.ended[client, stream] = "reset"
        for upstream in self.upstreams:
            for stream, event in upstream.take():
                if isinstance(event, RequestHead):
                    self.taken[upstream][stream] = False
                elif isinstance(event, bytes) and self.random.random() < 0.9:
                    upstream.codec.acknowledge(stream, len(event))
                elif isinstance(event, Reset):
                    self.taken[upstream].pop(stream, None)

    def client(self) -> Client:
        alive = [client for client in self.clients if not client.transport.is_closing()]
        if not alive or self.random.random() < 0.1:
            alive = [self.rig.client()]
            self.clients += alive
            self.asked[alive[0]] = {}
        return self.random.choice(alive)

    def ask(self) -> None:
        client = self.client()
        if client.codec.takes_requests():
            length = self.random.choice((0, 5, UNKNOWN_LENGTH))
            method = b"POST" if length else self.random.choice((b"GET", b"HEAD", b"POST"))
            fields = list(GRPC) if self.random.random() < 0.5 else []
            stream = client.codec.send_request(RequestHead(method, b"/", b"svc", fields, length))
            self.asked[client][stream] = length == 0

    def open_request(self) -> tuple[Client, int] | None:
        found = [(c, s) for c, streams in self.asked.items() for s, whole in streams.items() if not whole]
        return self.random.choice(found) if found else None

    def more(self) -> None:
        if (found := self.open_request()) is not None:
            client, stream = found
            client.codec.send_data(stream, bytes(self.random.choice((1, 5, 20_000, 200_000))))
            if self.random.random() < 0.5:
                client.codec.send_end(stream, self.random.choice(([], [(b"x", b"y")])))
                self.asked[client][stream] = True

    def open_answer(self) -> tuple[Peer, int] | None:
        found = [(peer, stream) for peer, streams in self.taken.items() for stream in streams]
        return self.random.choice(found) if found else None

    def answer(self) -> None:
        if (found := self.open_answer()) is not None:
            upstream, stream = found
            if not self.taken[upstream][stream]:
                status = self.random.choice((103, 200, 200, 204, 404, 503))
                ends = status != 103 and (status == 204 or self.random.random() < 0.4)
                upstream.codec.send_response(stream, ResponseHead(status, [], 0 if ends else UNKNOWN_LENGTH))
                self.taken[upstream][stream] = status != 103
                if not ends:
                    return
            else:
                upstream.codec.send_data(stream, bytes(self.random.choice((1, 20_000, 200_000))))
                if self.random.random() < 0.3:
                    return
                upstream.codec.send_end(stream, self.random.choice(([], [(b"grpc-status", b"0")])))
            del self.taken[upstream][stream]

    def connect(self) -> None:
        for name in self.rig.loop.tasks:
            settings = self.random.choice((None, None, http2.frame(http2.SETTINGS, 0, 0, http2.setting(3, 2))))
            upstream = self.rig.upstream(int(name[-1]), settings)
            self.upstreams.append(upstream)
            self.taken[upstream] = {}
        self.rig.loop.tasks.clear()

    def fail_to_connect(self) -> None:
        tasks = list(self.rig.loop.tasks)
        self.rig.loop.tasks.clear()
        for name in tasks:
            self.rig.pool(int(name[-1])).not_connected("refused")

    def cancel(self) -> None:
        if (found := self.open_request()) is not None:
            client, stream = found
            client.codec.reset(stream, CANCEL)
            self.asked[client][stream] = True
            self.ended.setdefault((client, stream), "cancelled")

    def refuse(self) -> None:
        if (found := self.open_answer()) is not None:
            upstream, stream = found
            upstream.codec.reset(stream, REFUSED_STREAM)
            del self.taken[upstream][stream]

    def break_off(self) -> None:
        if (found := self.open_answer()) is not None:
            upstream, stream = found
            upstream.codec.reset(stream, http2.INTERNAL_ERROR)
            del self.taken[upstream][stream]

    def go_away(self) -> None:
        if self.upstreams:
            self.random.choice(self.upstreams).codec.go_away(NO_ERROR)

    def garbage(self) -> None:
        peers: list[Peer] = [*self.clients, *self.upstreams]
        alive = [peer for peer in peers if not peer.transport.is_closing()]
        if alive and self.random.random() < 0.3:
            self.random.choice(alive).transport.receive(b"\xff" * 40, settle=False)

    def leave(self) -> None:
        if self.clients and self.random.random() < 0.3:
            self.random.choice(self.clients).transport.lose()

    def lose(self) -> None:
        if self.upstreams and self.random.random() < 0.3:
            self.random.choice(self.upstreams).transport.lose()

    def advance(self) -> None:
        self.rig.advance(self.random.choice((0.1, 1, 5, 20)))

    def finish(self) -> None:
        """Let all time-outs come."""
        self.settle()
        self.fail_to_connect()
        for _ in range(40):
            self.rig.advance(20)
            self.settle()
            self.fail_to_connect()


@pytest.mark.parametrize("seed", range(40))
def test_every_request_ends_once_and_nothing_is_left(seed: int) -> None:
    mixture = Mixture(seed)
    for _ in range(STEPS):
        mixture.step()
    mixture.finish()
    rig = mixture.rig
    assert rig.settled()
    open_ended = [
        (client, stream)
        for client, streams in mixture.asked.items()
        for stream in streams
        if (client, stream) not in mixture.ended and not client.transport.lost
    ]
    assert open_ended == []
    for client in mixture.clients:
        client.transport.lose()
    for endpoint in (0, 1):
        rig.pool(endpoint).close_idle()
    rig.advance(10)
    assert rig.cluster.connections == 0
    assert not rig.runtime.clients.connections
    assert len(rig.runtime.wheel) == 0
