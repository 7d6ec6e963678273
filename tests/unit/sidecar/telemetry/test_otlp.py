"""What the exporter sends, keeps and drops, and what it says of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from sidecar.core import otlp
from sidecar.core.trace import Span
from sidecar.telemetry.otlp import BATCH_SPANS, MAX_SPANS, Answer, OtlpExporter, poster
from tests.support.wire.otlp_collector import Collector, partial_success, read_spans

SPAN = Span("1-67891233-abcdef012345678912345678", "53995c3f42cd8ad8", "", "orders", False, 1.0, 2.0, "GET")
OK = Answer(200, b"")


class Calls:
    """Answers calls in turn, the last answer for ever."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.bodies: list[tuple[str, bytes]] = []

    def __call__(self, signal: str, body: bytes) -> Answer:
        self.bodies.append((signal, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def spans(self) -> list[int]:
        return [len(read_spans(body)) for signal, body in self.bodies if signal == "traces"]


def exporter(post: Callable[[str, bytes], Answer], metrics: Callable[[], list[bytes]] | None = None) -> OtlpExporter:
    return OtlpExporter(post, otlp.resource([("service.name", "web")]), metrics, 60.0)


def flushed(calls: Calls, spans: int, times: int = 1) -> OtlpExporter:
    """An exporter that got so many spans and was flushed so often."""

    async def main() -> OtlpExporter:
        found = exporter(calls)
        for _ in range(spans):
            found.export(SPAN)
        for _ in range(times):
            await found.flush_spans()
        return found

    return asyncio.run(main())


def test_spans_are_sent_in_batches() -> None:
    calls = Calls(OK)
    found = flushed(calls, BATCH_SPANS + 10)
    assert calls.spans() == [BATCH_SPANS, 10]
    assert (found.sent, found.dropped, found.waiting, found.failures) == (BATCH_SPANS + 10, 0, 0, 0)


def test_a_full_batch_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.telemetry.otlp.SPAN_SECONDS", 3600.0)
    calls = Calls(OK)

    async def main() -> None:
        loop, both = asyncio.get_running_loop(), asyncio.Event()

        def post(signal: str, body: bytes) -> Answer:
            answer = calls(signal, body)
            if len(calls.bodies) == 2:
                loop.call_soon_threadsafe(both.set)
            return answer

        found = exporter(post)
        task = asyncio.create_task(found.run_spans())
        for _ in range(2 * BATCH_SPANS):
            found.export(SPAN)
        async with asyncio.timeout(60):
            await both.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert calls.spans() == [BATCH_SPANS, BATCH_SPANS]


def test_what_comes_while_a_call_is_made_waits_for_the_next_batch() -> None:
    made: list[int] = []

    async def main() -> OtlpExporter:
        def post(signal: str, body: bytes) -> Answer:
            made.append(len(read_spans(body)))
            if len(made) < 10:
                found.export(SPAN)
            return OK

        found = exporter(post)
        found.export(SPAN)
        await found.flush_spans()
        return found

    found = asyncio.run(main())
    assert (made, found.waiting) == ([1], 1)


def test_nothing_is_sent_where_nothing_waits() -> None:
    calls = Calls(OK)
    flushed(calls, 0)
    assert calls.bodies == []


@pytest.mark.parametrize("answer", [Answer(503, b""), Answer(429, b""), ConnectionRefusedError("refused")])
def test_what_may_be_taken_later_waits_and_is_sent_again(answer: Answer | Exception) -> None:
    calls = Calls(answer, OK)
    found = flushed(calls, 3, times=2)
    assert calls.spans() == [3, 3]
    assert (found.sent, found.dropped, found.waiting, found.failures) == (3, 0, 0, 1)


def test_what_is_refused_for_good_is_dropped() -> None:
    found = flushed(Calls(Answer(400, b"")), 3)
    assert (found.sent, found.dropped, found.waiting) == (0, 3, 0)


def test_what_the_collector_leaves_out_is_counted() -> None:
    found = flushed(Calls(Answer(200, partial_success(2, "too old"))), 3)
    assert (found.sent, found.dropped) == (1, 2)


def test_a_success_in_other_words_is_a_success() -> None:
    found = flushed(Calls(Answer(200, b'{"ok": true}')), 3)
    assert (found.sent, found.dropped) == (3, 0)


def test_the_queue_is_bounded_and_drops_are_counted() -> None:
    found = flushed(Calls(Answer(503, b"")), MAX_SPANS + 7)
    assert (found.waiting, found.dropped) == (MAX_SPANS, 7)


def test_a_failure_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tramo.telemetry")
    refused = ConnectionRefusedError("<Connection 0x7f>: [Errno 111] Connection refused")
    flushed(Calls(refused, refused, Answer(503, b""), Answer(503, b""), OK), 3, times=6)
    assert caplog.messages == [
        "the collector does not take traces: [Errno 111] Connection refused",
        "the collector does not take traces: status 503",
        "the collector takes traces again",
    ]


def test_a_collector_that_does_not_answer_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sidecar.telemetry.otlp.FLUSH_SECONDS", 0.05)
    answered = threading.Event()

    def hang(signal: str, body: bytes) -> Answer:
        answered.wait(30)
        return OK

    async def main() -> OtlpExporter:
        found = exporter(hang)
        found.export(SPAN)
        await found.close()
        return found

    try:
        found = asyncio.run(main())
    finally:
        answered.set()
    assert found.waiting == 1
    assert "did not take the last spans and metrics" in caplog.text


def test_the_rest_is_sent_at_the_end_to_a_real_server() -> None:
    collector = Collector()

    async def main() -> OtlpExporter:
        post = poster(collector.origin, {"x-tenant": "shop"})
        found = exporter(post, lambda: [otlp.gauge("a", "1", "A.", [otlp.Point([], 1.0)], 2.0)])
        found.export(SPAN)
        await found.close()
        return found

    try:
        found = asyncio.run(main())
        assert (found.sent, found.failures) == (1, 0)
        assert [span.name for _, span in collector.spans] == ["GET"]
        assert [[metric.name for metric in metrics] for _, metrics in collector.metrics] == [["a"]]
        assert {fields["x-tenant"] for fields in collector.fields} == {"shop"}
    finally:
        collector.close()
