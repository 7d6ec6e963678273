"""Clients of others' making through two sidecars, before a service that speaks HTTP/1.1 and one that speaks HTTP/2.

Each client runs all cases once for each service; a test is one case of one client and one service. `LEFT_OUT` says
what a client cannot do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.clients.drivers import serving_node
from tests.support.clients.matrix import Answer, Case, cases
from tests.support.clients.matrix_clients import CLIENTS
from tests.support.proxy.pair import Pair

SERVICES: Final = {"HTTP/1.1": "web", "HTTP/2": "web2"}
VERSIONS: Final = {
    "curl HTTP/1.1": "1.1",
    "curl HTTP/2": "2",
    "httpx HTTP/1.1": "1.1",
    "httpx HTTP/2": "2",
    "aiohttp": "1.1",
    "Node http": "1.1",
    "Node http2": "2",
    "Java HTTP/1.1": "1.1",
    "Java HTTP/2": "1.1",  # offered by Upgrade, and not taken
}
SENDS_TRAILERS: Final = {"Node http", "Node http2"}
LEFT_OUT: Final = {
    ("httpx HTTP/1.1", "expect"): "httpx does not wait for 100",
    ("httpx HTTP/2", "expect"): "httpx does not wait for 100",
    ("httpx HTTP/2", "at once"): "two threads of its client may take the same stream",
    ("curl HTTP/2", "kept alive"): "curl 7.88 sends a second preface on a connection that it uses again",
    ("curl HTTP/2", "at once"): "the same",
    ("curl HTTP/2", "expect"): "curl does not wait for 100 over HTTP/2",
}

Observed = dict[tuple[str, str], dict[str, list[Answer]] | Exception]


@pytest.fixture(scope="module")
def bases(pair: Pair) -> Iterator[dict[str, dict[str, str]]]:
    """Of each service, where the cases' services are reached."""
    one, two = pair.app("web"), pair.app("web2")
    with serving_node("server.cjs", one.host, str(one.port), str(two.port)):
        found = {}
        for shown, name in SERVICES.items():
            kind, caller = pair.protocol(name), pair.caller
            none = {"retries": {"count": 0}}  # else the flags depend on how many were retried lately
            addresses = {
                "web": pair.address(name),
                "nobody": caller.publish(f"nobody-{name}", protocol=kind),
                "refusing": caller.publish(f"refusing-{name}", caller.refusing("r"), protocol=kind, policy=none),
            }
            found[shown] = {kind: f"http://{address.host}:{address.port}" for kind, address in addresses.items()}
        yield found


@pytest.fixture(scope="module")
def observed() -> Observed:
    return {}


def wanted(client: str) -> list[Case]:
    return [case for case in cases() if (client, case.name) not in LEFT_OUT]


@pytest.mark.parametrize(
    ("client", "case"),
    [pytest.param(client, case, id=f"{client}-{case.name}") for client in CLIENTS for case in wanted(client)],
)
@pytest.mark.parametrize("service", SERVICES)
def test_a_case(bases: dict[str, dict[str, str]], observed: Observed, client: str, case: Case, service: str) -> None:
    if (client, service) not in observed:
        try:
            observed[client, service] = CLIENTS[client](bases[service], wanted(client))
        except Exception as error:
            observed[client, service] = error
    found = observed[client, service]
    if isinstance(found, Exception):
        raise found
    answers = found[case.name]
    assert len(answers) == case.times
    for answer in answers:
        check(client, case, answer)
    if case.name == "kept alive":
        assert len({answer.connection for answer in answers}) == 1


def check(client: str, case: Case, answer: Answer) -> None:
    if case.broken:
        # Or the proxy says so, when the break came before anything of the answer had gone on.
        assert answer.error or answer.status == 502, "what broke off looked whole"
        return
    assert (answer.error, answer.status, answer.version) == (None, case.status, VERSIONS[client])
    if case.answer is not None:
        assert (answer.length, answer.sha256) == (len(case.answer), hashlib.sha256(case.answer).hexdigest())
    assert {name: answer.header(name) for name in case.fields} == case.fields
    if case.expect:
        assert answer.continued is not False
    if case.trailers and answer.trailers is not None:
        check_value = "checked" if client in SENDS_TRAILERS else "none"
        assert answer.trailers == {"x-length": [str(case.body)], "x-check": [check_value]}
