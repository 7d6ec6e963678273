"""Blocking calls beside the event loop: to the control plane, to the task metadata, to CloudWatch.

Rules:
- A call has a thread of its own, which never holds the end of the process: SIGTERM waits for no answer.
- A call has a total time-out. The time-outs of a socket are for one read, and an answer that drips never meets them.
- What takes longer is left behind with its thread, which ends when the call does. At most `MAX_LEFT_BEHIND` of an
  executor are; after that a call fails at once until one of them has ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar, TypeVarTuple

MAX_LEFT_BEHIND: Final = 4
"""Each has a socket and a stack."""
CALL_SECONDS: Final = 30.0
"""For a whole document of 100,000 endpoints over a slow line."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class DaemonThreads(Executor):
    """Makes each call on a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running = 0
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a call."""
        future: Future[Any] = Future()
        with self._lock:
            is_full = self._running > MAX_LEFT_BEHIND
            self._running += not is_full
        if is_full:
            future.set_exception(TimeoutError(f"{MAX_LEFT_BEHIND} calls before it have not ended"))
        else:
            call = (future, fn, args, kwargs)
            threading.Thread(target=self._make, args=call, name=self._name, daemon=True).start()
        return future

    def _make(self, future: Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                self._running -= 1


async def call(executor: Executor, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Make a call and wait for it at most `CALL_SECONDS`. Raises TimeoutError, and what the call raises."""
    async with asyncio.timeout(CALL_SECONDS):
        return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)
