"""Real processes of AWS's runtime client, with handlers that are written here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infra.local.functions import Function, FunctionError
from infra.local.process import Launcher
from tests.support.control_plane.functions import spec

HANDLERS = """
import os, sys, time

def handler(event, context):
    if event.get("fail"):
        raise ValueError("on purpose")
    if event.get("exit"):
        os._exit(3)
    if event.get("sleep"):
        time.sleep(event["sleep"])
    print("worked", event, flush=True)
    return {"event": event, "pid": os.getpid(), "name": context.function_name, "given": os.environ["GIVEN"],
            "left": context.get_remaining_time_in_millis()}
"""


def run(
    tmp_path: Path, work: Callable[[Function], Awaitable[None]], *, timeout: float = 30.0, code: str = HANDLERS
) -> str:
    (tmp_path / "app.py").write_text(code)

    async def main() -> None:
        async with Launcher() as launcher:
            function = Function(
                spec(code=tmp_path, timeout=timeout, environment={"GIVEN": "x"}),
                launcher,
                {"PYTHONDONTWRITEBYTECODE": "1"},
                "us-east-1",
                tmp_path / "log",
            )
            await function.start()
            try:
                await work(function)
            finally:
                await function.stop()

    asyncio.run(main())
    return (tmp_path / "log").read_text()


def test_invocations_are_answered_one_after_the_other_by_one_process(tmp_path: Path) -> None:
    async def work(function: Function) -> None:
        answers = await asyncio.gather(*(function.invoke({"n": number}) for number in range(3)))
        assert [answer["event"]["n"] for answer in answers] == [0, 1, 2]
        assert len({answer["pid"] for answer in answers}) == 1
        assert answers[0]["name"] == "F"
        assert answers[0]["given"] == "x"
        assert 0 < answers[0]["left"] <= 30_000

    assert "worked {'n': 2}" in run(tmp_path, work)


def test_an_error_of_the_handler_is_told_as_lambda_does_and_the_process_lives_on(tmp_path: Path) -> None:
    async def work(function: Function) -> None:
        before = (await function.invoke({}))["pid"]
        with pytest.raises(FunctionError, match="on purpose") as caught:
            await function.invoke({"fail": True})
        assert caught.value.kind == "ValueError"
        assert (await function.invoke({}))["pid"] == before

    run(tmp_path, work)


def test_a_process_that_ends_is_started_again(tmp_path: Path) -> None:
    async def work(function: Function) -> None:
        with pytest.raises(FunctionError, match="exit status 3"):
            await function.invoke({"exit": True})
        assert (await function.invoke({}))["pid"] != os.getpid()

    run(tmp_path, work)


def test_a_function_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def work(function: Function) -> None:
        await function.invoke({})  # else the time to start would count too
        with pytest.raises(FunctionError, match=r"timed out after 0\.50 seconds"):
            await function.invoke({"sleep": 60})
        assert (await function.invoke({"n": 1}))["event"] == {"n": 1}

    run(tmp_path, work, timeout=0.5)


def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    async def work(function: Function) -> None:
        for _ in range(2):
            with pytest.raises(FunctionError, match="no_such_module"):
                await function.invoke({})

    run(tmp_path, work, code="import no_such_module")
