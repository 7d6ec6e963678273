"""`tramo top` and `tap`: requests as sidecars send them, who sent them, and what they add up to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, cast

import pytest

from infra.cli.tap import Callers, line, warn_of_left_out
from infra.cli.top import COLUMNS, MOST_KINDS, Sums, draw
from infra.client.api import MeshApi
from infra.client.requests import Batch, batches

REQUEST: dict[str, Any] = {
    "task": "ab" * 16,
    "direction": "inbound",
    "downstream_address": "10.0.1.9:40000",
    "upstream_host": "127.0.0.1:8080",
    "upstream_cluster": "orders",
    "method": "GET",
    "path": "/a",
    "authority": "orders",
    "duration": 1.0,
    "response_code": 200,
    "response_flags": "-",
    "retries": 0,
    "request_id": "r-1",
    "bytes_sent": 7,
}
SNAPSHOT = {"services": [{"name": "web", "endpoints": [{"address": "10.0.1.9"}, {"address": "fd00::9"}]}]}
CALLERS = Callers(SNAPSHOT, "orders")


def summed(*requests: dict[str, Any], **options: Any) -> list[Any]:
    sums = Sums(CALLERS.name, **options)
    sums.add(Batch([{**REQUEST, **each} for each in requests], 0))
    return sums.rows()


def test_requests_are_summed_by_method_and_path() -> None:
    ended = ((1.0, 200), (5.0, 500), (3.0, 0))
    (row,) = summed(*({"duration": duration, "response_code": code} for duration, code in ended))
    assert (row["count"], row["best"], row["worst"], row["last"], row["success"]) == (3, "1ms", "5ms", "3ms", "33.33%")


def test_a_grpc_call_succeeds_by_its_status() -> None:
    (row,) = summed({"grpc_status": 0}, {"grpc_status": 13}, {"grpc_status": 5}, {"grpc_status": 14})
    assert row["success"] == "50.00%"


@pytest.mark.parametrize(
    ("request_", "source"),
    [
        ({}, "web"),
        ({"downstream_address": "[fd00::9]:40000"}, "web"),
        ({"downstream_address": "10.0.7.7:1"}, "10.0.7.7"),
        ({"direction": "outbound", "downstream_address": "127.0.0.1:1", "upstream_cluster": "stock"}, "orders"),
    ],
)
def test_the_source_is_the_service_that_calls_or_the_address_of_one_that_offers_none(
    request_: dict[str, Any], source: str
) -> None:
    (row,) = summed(request_)
    assert row["source"] == source
    assert f"src_res=svc/{source} " in line({**REQUEST, **request_, "source": source})


def test_sources_can_be_chosen_and_hidden() -> None:
    other = {"downstream_address": "10.0.7.7:1"}
    assert [row["source"] for row in summed({}, {}, other)] == ["web", "10.0.7.7"]
    assert [row["count"] for row in summed({}, {}, other, source="web")] == [2]
    assert [row["count"] for row in summed({}, {}, other, hide_sources=True)] == [3]


def test_kinds_are_bounded_and_what_is_left_out_is_counted() -> None:
    sums = Sums(CALLERS.name)
    sums.add(Batch([{**REQUEST, "path": f"/{number}"} for number in range(MOST_KINDS + 2)], 5))
    assert sums.left_out == 7


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_table_is_drawn_anew_behind_each_batch() -> None:
    stream, sums = Terminal(), Sums(CALLERS.name)
    screens = []
    for batch in draw(stream, iter([Batch([], 0), Batch([REQUEST], 0), Batch([REQUEST], 0)]), sums, COLUMNS):
        screens.append(stream.getvalue())
        sums.add(batch)
    screens.append(stream.getvalue())
    assert ["waiting for" in each for each in screens] == [False, True, True, True]
    assert [each.count("SOURCE") for each in screens[:3]] == [0, 0, 1]
    assert screens[3].count("SOURCE") > 1


class Api:
    """Sidecars that send a batch for each second that somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[int] = []

    def ask(self, _: str, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question["seconds"])
        return {"id": str(len(self.asked)), "asked": ["one"]}

    def answers(self, *_: str) -> dict[str, Any]:
        sent = {"requests": [{"path": "/"}], "left_out": 2}
        found = [{"task": "one", "at": f"{at}", "answer": sent} for at in range(int(self.now))]
        return {"answers": found, "next": None}

    def pause(self, seconds: float) -> None:
        self.now += seconds


def looked(api: Api, seconds: float) -> Iterator[Batch]:
    stream = io.StringIO()
    return batches(cast(MeshApi, api), "n", "orders", {}, seconds, lambda: api.now, api.pause, stream)


def test_a_batch_is_shown_once_and_what_a_sidecar_left_out_is_counted() -> None:
    found = list(looked(Api(), 3.0))
    assert [len(each.requests) for each in found] == [1] * 6
    assert sum(each.left_out for each in found) == 12


def test_what_was_left_out_is_said_in_one_line_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_left_out(0)
    warn_of_left_out(1_000_000)
    (line_,) = capsys.readouterr().err.splitlines()
    assert len(line_) <= 80
    assert "1000000 more requests" in line_


def test_a_long_look_asks_again_each_minute() -> None:
    api = Api()
    for _ in looked(api, 150.0):
        pass
    assert api.asked == [60, 60, 24]


def test_a_wide_line_has_ids_and_sizes() -> None:
    assert line({**REQUEST, "source": "web"}, wide=True).endswith("latency=1ms request-id=r-1 bytes-sent=7")
