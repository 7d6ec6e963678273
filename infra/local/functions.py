"""Lambda on one machine: each function is a process of AWS's own runtime client, `awslambdaric`.

The process asks this module's HTTP server for work, as in AWS it asks the Lambda service (the Runtime API,
"Using the Lambda runtime API" in the Lambda developer guide). So the handlers get real context objects, and
errors have the form that they have in AWS.

Rules:
1. A function works on one invocation at a time; others wait in the order they came.
2. An invocation ends with a result, with the function's error, with the end of its process, or after the
   function's time-out, which ends the process.
3. A process that ended is started again when the next invocation comes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.local.httpserver import HttpServer, Request, Response
from infra.local.process import Launcher, Process
from infra.local.settings import ACCOUNT
from infra.local.template import FunctionSpec

_API: Final = "/2018-06-01/runtime"
_INIT_SECONDS: Final = 30.0


class FunctionError(Exception):
    """The function failed. `kind` is the errorType that Lambda reports."""

    def __init__(self, function: str, kind: str, message: str) -> None:
        super().__init__(f"{function}: {kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(slots=True)
class _Invocation:
    body: bytes
    result: asyncio.Future[bytes]
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))


class Function:
    """One function with its process."""

    def __init__(
        self, spec: FunctionSpec, launcher: Launcher, environment: Mapping[str, str], region: str, log: Path
    ) -> None:
        self.spec = spec
        self._launcher = launcher
        self._environment = environment
        self._region = region
        self._log = log
        self._waiting: asyncio.Queue[_Invocation] = asyncio.Queue()
        self._running: dict[str, _Invocation] = {}
        self._one_at_a_time = asyncio.Lock()
        self._server = HttpServer(self._serve)
        self._port = 0
        self._process: Process | None = None
        self._ready = False  # the process has asked for work
        self._init_error: FunctionError | None = None

    async def start(self) -> None:
        """Listen, and start the process so that the first invocation finds it warm."""
        self._port = await self._server.listen("127.0.0.1")
        await self._ensure_process()

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
        await self._server.close()

    async def invoke(self, event: object) -> Any:
        """Return the result of the handler for this event. Raises FunctionError."""
        async with self._one_at_a_time:
            self._init_error = None
            process = await self._ensure_process()
            invocation = _Invocation(json.dumps(event).encode(), asyncio.get_running_loop().create_future())
            self._waiting.put_nowait(invocation)
            ended = asyncio.ensure_future(process.wait())
            try:
                patience = self.spec.timeout + (0 if self._ready else _INIT_SECONDS)
                await _first_of(invocation.result, ended, patience)
                if invocation.result.done():
                    return json.loads(await invocation.result)
                if ended.done():
                    raise self._init_error or self._failure("Runtime.ExitError", f"exit status {ended.result()}")
                process.kill()
                await ended
                raise self._failure("Sandbox.Timedout", f"Task timed out after {self.spec.timeout:.2f} seconds")
            finally:
                ended.cancel()

    def _failure(self, kind: str, message: str) -> FunctionError:
        return FunctionError(self.spec.name, kind, message)

    async def _ensure_process(self) -> Process:
        if self._process is None or not self._process.running:
            self._ready = False
            self._running.clear()
            self._waiting = asyncio.Queue()  # a request of the process before may still wait at the old one
            environment = {
                "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "TZ": ":UTC",
                "PYTHONPATH": str(self.spec.code),
                "PYTHONUNBUFFERED": "1",
                "_HANDLER": self.spec.handler,
                "LAMBDA_TASK_ROOT": str(self.spec.code),
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._port}",
                "AWS_LAMBDA_FUNCTION_NAME": self.spec.name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.spec.memory),
                "AWS_REGION": self._region,
                "AWS_DEFAULT_REGION": self._region,
                "POWERTOOLS_TRACE_DISABLED": "true",  # there is no X-Ray daemon
                **self._environment,
                **self.spec.environment,
            }
            self._process = await self._launcher.start(
                [sys.executable, "-m", "awslambdaric", self.spec.handler],
                environment=environment,
                directory=self.spec.code,
                log=self._log,
            )
        return self._process

    async def _serve(self, request: Request) -> Response:
        if request.path == f"{_API}/invocation/next":
            return await self._next()
        accepted = Response(202, b'{"status":"OK"}', (("Content-Type", "application/json"),))
        if request.path == f"{_API}/init/error":
            self._init_error = self._error(request.body)
            return accepted
        _, _, rest = request.path.partition(f"{_API}/invocation/")
        identifier, _, what = rest.partition("/")
        invocation = self._running.pop(identifier, None)
        if invocation is None or what not in ("response", "error"):
            return Response(404, b'{"errorType":"InvalidRequestID"}', (("Content-Type", "application/json"),))
        if what == "error":
            invocation.result.set_exception(self._error(request.body))
        else:
            invocation.result.set_result(request.body)
        return accepted

    async def _next(self) -> Response:
        self._ready = True
        invocation = await self._waiting.get()
        self._running[invocation.identifier] = invocation
        deadline = int((time.time() + self.spec.timeout) * 1000)
        headers = (
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.identifier),
            ("Lambda-Runtime-Deadline-Ms", str(deadline)),
            (
                "Lambda-Runtime-Invoked-Function-Arn",
                f"arn:aws:lambda:{self._region}:{ACCOUNT}:function:{self.spec.name}",
            ),
        )
        return Response(200, invocation.body, headers)

    def _error(self, body: bytes) -> FunctionError:
        details = json.loads(body)
        return self._failure(str(details.get("errorType", "Error")), str(details.get("errorMessage", "")))


async def _first_of(one: asyncio.Future[bytes], other: asyncio.Future[int], patience: float) -> None:
    """Return when either is done, at the latest after so many seconds."""
    futures: set[asyncio.Future[Any]] = {one, other}
    await asyncio.wait(futures, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
