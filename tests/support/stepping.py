"""A function of the control plane that runs one call of DynamoDB at a time, or dies before one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from registry.dynamodb.store import Store

LONGEST_STEP_SECONDS = 30.0


class Crash(BaseException):
    """The end of the process: nothing catches it."""


@contextmanager
def before_each_call(store: Store, act: Callable[[str], None]) -> Iterator[None]:
    """Call `act` before each call of a store, with the operation and the sort key that it is about, if it is one."""
    connection: Any = store.tasks._table.connection
    dispatch = connection.dispatch

    def acting(operation: str, arguments: Any) -> Any:
        key = arguments.get("Key", {}).get("sk", {}).get("S", "")
        act(f"{operation} {key}".strip())
        return dispatch(operation, arguments)

    connection.dispatch = acting
    try:
        yield
    finally:
        connection.dispatch = dispatch


class Stepped:
    """Runs `work` in a thread that waits before each call of `store` until it is stepped."""

    def __init__(self, store: Store, work: Callable[[], object]) -> None:
        self.finished = False
        self.waits_before = ""
        self.result: object = None
        self.error: Exception | None = None
        self._store = store
        self._work = work
        self._dies = False
        self._go = threading.Semaphore(0)
        self._waits = threading.Semaphore(0)
        threading.Thread(target=self._run, name="stepped", daemon=True).start()
        self._wait()

    def _run(self) -> None:
        try:
            with before_each_call(self._store, self._gate):
                self.result = self._work()
        except Crash:
            pass
        except Exception as error:
            self.error = error
        finally:
            self.finished = True
            self._waits.release()

    def _gate(self, call: str) -> None:
        self.waits_before = call
        self._waits.release()
        self._go.acquire()
        if self._dies:
            raise Crash

    def _wait(self) -> None:
        if not self._waits.acquire(timeout=LONGEST_STEP_SECONDS):
            raise RuntimeError(f"a call of DynamoDB took more than {LONGEST_STEP_SECONDS} s")

    def step(self) -> None:
        """Let it make one call, and return when it waits before the next one or has finished."""
        self._go.release()
        self._wait()

    def die(self) -> None:
        """End it before its next call."""
        self._dies = True
        self.step()
