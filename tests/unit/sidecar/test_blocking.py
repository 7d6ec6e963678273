"""Calls that block: on threads that hold nothing up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from sidecar.blocking import CALL_SECONDS, MAX_LEFT_BEHIND, DaemonThreads, call
from tests.support.proxy.sidecar import CODE
from tests.support.virtual_time import run

HANGS = """
import asyncio, threading
from sidecar.blocking import DaemonThreads

async def main():
    started = threading.Event()
    def hang():
        started.set()
        threading.Event().wait()
    asyncio.get_running_loop().run_in_executor(DaemonThreads("test"), hang)
    while not started.is_set():
        await asyncio.sleep(0.01)

asyncio.run(main())
"""


def test_what_a_call_returns_and_raises_comes_back() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        executor = DaemonThreads("test")
        assert await call(executor, divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await call(executor, fail)

    asyncio.run(main())


def test_a_call_that_hangs_does_not_hold_the_end_of_the_process() -> None:
    subprocess.run([sys.executable, "-c", HANGS], cwd=CODE, timeout=30, check=True)


def test_a_call_that_hangs_is_given_up_and_few_of_them_are_left_behind() -> None:
    over = threading.Event()
    ended = threading.Semaphore(0)

    def hang() -> None:
        over.wait()
        ended.release()

    async def main() -> None:
        loop, executor = asyncio.get_running_loop(), DaemonThreads("test")
        for _ in range(MAX_LEFT_BEHIND + 1):
            before = loop.time()
            with pytest.raises(TimeoutError):
                await call(executor, hang)
            assert loop.time() - before == pytest.approx(CALL_SECONDS)
        with pytest.raises(TimeoutError, match="have not ended"):
            await call(executor, hang)
        over.set()
        for _ in range(MAX_LEFT_BEHIND + 1):
            ended.acquire()

    run(main())
