"""Lines to a pipe: whole, in order, bounded, and never waited for."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidecar.telemetry.output import BATCH_BYTES, MAX_BYTES, Output
from tests.support.waiting import until

LINE = b"x" * 1023 + b"\n"


class Pipe:
    """A pipe with a reader that reads when it is told to."""

    def __init__(self, *, blocking: bool = True) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, blocking)
        self.capacity = fcntl.fcntl(self.writing, fcntl.F_GETPIPE_SZ)

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < count:
            data += os.read(self.reading, count - len(data))
        return data

    def close_reader(self) -> None:
        """Read no more, for ever."""
        os.close(self.reading)
        self.reading = -1

    def close(self) -> None:
        if self.reading >= 0:
            os.close(self.reading)
        os.close(self.writing)


@pytest.fixture(params=[True, False], ids=["blocking", "non-blocking"])
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    found = Pipe(blocking=request.param)
    yield found
    found.close()


def with_output(pipe: Pipe, act: Callable[[Output], Any]) -> Any:
    """Run a function with an output inside a loop."""

    async def run() -> Any:
        output = Output(asyncio.get_running_loop(), pipe.writing)
        try:
            return act(output)
        finally:
            if pipe.reading >= 0:
                # A descriptor of the thread's own: it may read on when another pipe has got the number of this one.
                threading.Thread(target=_drain, args=(os.dup(pipe.reading),), daemon=True).start()
            output.close()

    return asyncio.run(run())


def _drain(descriptor: int) -> None:
    """Read until nobody holds the writing end any more."""
    with open(descriptor, "rb", buffering=0) as file:
        while file.read(65_536):
            pass


def test_lines_come_in_order_some_time_after_they_were_written(pipe: Pipe) -> None:
    lines = [b"%d\n" % number for number in range(1000)]

    async def run() -> None:
        output = Output(asyncio.get_running_loop(), pipe.writing)
        for line in lines:
            output.write(line)
        assert await asyncio.to_thread(pipe.read, len(b"".join(lines))) == b"".join(lines)
        output.close()
        assert (output.written, output.dropped) == (1000, 0)

    asyncio.run(run())


def test_much_is_written_at_once_without_waiting_for_the_timer(pipe: Pipe) -> None:
    def act(output: Output) -> None:
        for _ in range(BATCH_BYTES // len(LINE)):
            output.write(LINE)
        assert output.written == BATCH_BYTES // len(LINE), "this loop does not run, so no timer fired"

    with_output(pipe, act)


def test_what_nobody_reads_is_kept_up_to_a_bound_and_then_dropped_in_whole_lines(pipe: Pipe) -> None:
    count = 3 * MAX_BYTES // len(LINE)

    def act(output: Output) -> bytes:
        for _ in range(count):  # returns although nobody reads: nothing in it waits
            output.write(LINE)
        output.flush()
        taken = output.written
        assert taken + output.dropped == count
        assert taken * len(LINE) + len(LINE) >= MAX_BYTES
        assert taken * len(LINE) <= MAX_BYTES + pipe.capacity + BATCH_BYTES, "the bound, and what the pipe has taken"
        return pipe.read(taken * len(LINE))

    data = with_output(pipe, act)
    assert set(data.splitlines(keepends=True)) == {LINE}


def test_it_goes_on_when_the_reader_does(pipe: Pipe) -> None:
    def act(output: Output) -> None:
        while not output.dropped:
            output.write(LINE)
        output.flush()
        pipe.read(output.written * len(LINE))
        until(lambda: output._waiting == 0, 5, "the thread to have written all")
        before = output.written
        output.write(b"again\n")
        output.flush()
        assert pipe.read(6) == b"again\n"
        assert output.written == before + 1

    with_output(pipe, act)


def test_a_reader_that_is_gone_is_said_once(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    def act(output: Output) -> None:
        pipe.close_reader()
        for _ in range(3):
            output.write(LINE)
            output.flush()
            until(lambda: output._waiting == 0, 5, "the thread to give up")

    with caplog.at_level(logging.ERROR):
        with_output(pipe, act)
    assert caplog.text.count("stdout is gone") == 1
