"""The clients of the matrix: each runs all cases against a service and says what it saw."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import aiohttp
import httpx
from yarl import URL

from tests.support.clients.drivers import DRIVERS, run, run_node
from tests.support.clients.matrix import Answer, Case, answers_in, as_json, pattern

Bases = Mapping[str, str]
Run = Callable[[Bases, Sequence[Case]], dict[str, list[Answer]]]
SECONDS: Final = 60.0
JAVA_OPTIONS: Final = ("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djdk.httpclient.keepalive.timeout=30")
PIECE: Final = 10_007


def pieces(size: int) -> Iterator[bytes]:
    """The pattern in pieces."""
    body = pattern(size)
    for start in range(0, size, PIECE):
        yield body[start : start + PIECE]


def release(url: str) -> None:
    """Let the service send the rest."""
    with urlopen(url, timeout=SECONDS) as response:
        response.read()


# curl.


def curl(option: str) -> Run:
    """curl with this option for its protocol, one process for each case."""

    def ask_all(bases: Bases, cases: Sequence[Case]) -> dict[str, list[Answer]]:
        with tempfile.TemporaryDirectory() as directory:
            return {case.name: _curl(option, bases[case.service], case, Path(directory)) for case in cases}

    return ask_all


def _curl(option: str, base: str, case: Case, directory: Path) -> list[Answer]:
    head = directory / "head"
    command = ["curl", "-sS", "-N", option, "--noproxy", "*", "--max-time", f"{SECONDS:g}", "-D", str(head)]
    command += ["-w", "%{stderr}%{json}\n"]
    command += ["--head"] if case.method == "HEAD" else ["-X", case.method]
    command += ["--compressed"] if case.gzip else []
    command += ["-H", "Expect: 100-continue"] if case.expect else []
    command += ["--parallel"] if case.at_once else []
    command += ["--parallel-immediate"] if case.at_once and option == "--http1.1" else []
    if case.body is not None:
        upload = directory / "upload"
        upload.write_bytes(pattern(case.body))
        command += ["-T", "-"] if case.chunked else ["--data-binary", f"@{upload}"]
    outputs = [directory / f"body-{number}" for number in range(case.times)]
    for output in outputs:
        output.write_bytes(b"")
        command += [base + case.path, *(() if case.release else ("-o", str(output)))]
    upload_input = pattern(case.body or 0) if case.chunked else b""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        first = b""
        if case.release and process.stdout is not None:
            first = process.stdout.read(1)
            release(base + case.release)
        printed, told = process.communicate(upload_input)
    if case.release:
        outputs[0].write_bytes(first + printed)
    # In front of the first one stands the progress meter of --parallel.
    reports = [json.loads(line[line.index("{") :]) for line in told.decode().splitlines() if "{" in line]
    return [
        _curl_answer(report, head.read_text(), output, case) for report, output in zip(reports, outputs, strict=True)
    ]


def _curl_answer(report: dict[str, Any], heads: str, output: Path, case: Case) -> Answer:
    found = Answer(report["http_code"], report["http_version"], connection=str(report["local_port"]))
    found.error = report["errormsg"]
    blocks = [block.splitlines() for block in heads.replace("\r\n", "\n").split("\n\n") if block]
    found.continued = any(" 100" in block[0] for block in blocks)
    found.trailers = {}
    for block in blocks:
        if block[0].startswith("HTTP/"):
            found.headers = _fields(block[1:])
        else:
            found.trailers = _fields(block)
    found.take_body(b"" if case.method == "HEAD" else output.read_bytes())
    return found


def _fields(lines: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


# httpx.


def by_httpx(http2: bool) -> Run:
    """httpx, with HTTP/2 by prior knowledge or HTTP/1.1."""

    def ask_all(bases: Bases, cases: Sequence[Case]) -> dict[str, list[Answer]]:
        with (
            httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=SECONDS) as client,
            ThreadPoolExecutor(8) as threads,
        ):
            found = {}
            for case in cases:
                again = [case] * case.times
                ask = partial(_by_httpx, client, bases[case.service])
                found[case.name] = list(threads.map(ask, again) if case.at_once else map(ask, again))
            return found

    return ask_all


def _by_httpx(client: httpx.Client, base: str, case: Case) -> Answer:
    content: Any = None
    if case.body is not None:
        content = pieces(case.body) if case.chunked else pattern(case.body)
    headers = {"accept-encoding": "gzip" if case.gzip else "identity"}
    found = Answer()
    try:
        with client.stream(case.method, base + case.path, content=content, headers=headers) as response:
            found.status, found.version = response.status_code, response.http_version.removeprefix("HTTP/")
            for name, value in response.headers.multi_items():
                found.headers.setdefault(name, []).append(value)
            found.connection = str(response.extensions["network_stream"].get_extra_info("client_addr"))
            body = b""
            for piece in response.iter_bytes():
                if case.release and not body:
                    release(base + case.release)
                body += piece
            found.take_body(body)
    except httpx.HTTPError as error:
        found.error = repr(error)
    return found


# aiohttp.


def by_aiohttp(bases: Bases, cases: Sequence[Case]) -> dict[str, list[Answer]]:
    """aiohttp."""
    return asyncio.run(_by_aiohttp(bases, cases))


async def _by_aiohttp(bases: Bases, cases: Sequence[Case]) -> dict[str, list[Answer]]:
    opened: list[object] = []

    async def on_open(*told: object) -> None:
        opened.append(told)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(on_open)
    found: dict[str, list[Answer]] = {}
    async with aiohttp.ClientSession(trace_configs=[trace], timeout=aiohttp.ClientTimeout(SECONDS)) as session:
        for case in cases:
            asked = [_ask_aiohttp(session, bases[case.service], case, opened) for _ in range(case.times)]
            if case.at_once:
                found[case.name] = list(await asyncio.gather(*asked))
            else:
                found[case.name] = [await one for one in asked]
    return found


async def _ask_aiohttp(session: aiohttp.ClientSession, base: str, case: Case, opened: Sequence[object]) -> Answer:
    async def parts() -> Any:
        for piece in pieces(case.body or 0):
            yield piece

    data: Any = None if case.body is None else (parts() if case.chunked else BytesIO(pattern(case.body)))
    headers = {"accept-encoding": "gzip" if case.gzip else "identity"}
    found = Answer()
    url = URL(base + case.path, encoded=True)
    try:
        async with session.request(case.method, url, data=data, headers=headers, expect100=case.expect) as response:
            found.status = response.status
            found.version = f"{response.version.major}.{response.version.minor}" if response.version else ""
            for name, value in response.headers.items():
                found.headers.setdefault(name.lower(), []).append(value)
            found.connection = str(len(opened))
            body = b""
            async for piece in response.content.iter_any():
                if case.release and not body:
                    await asyncio.to_thread(release, base + case.release)
                body += piece
            found.take_body(body)
    except aiohttp.ClientError as error:
        found.error = repr(error)
    return found


# Node and Java.


def by_node(module: str) -> Run:
    """Node's module of this name."""

    def ask_all(bases: Bases, cases: Sequence[Case]) -> dict[str, list[Answer]]:
        return answers_in(run_node("matrix.cjs", module, text=as_json(bases, cases)))

    return ask_all


def by_java(version: str) -> Run:
    """java.net.http.HttpClient that prefers this version."""

    def ask_all(bases: Bases, cases: Sequence[Case]) -> dict[str, list[Answer]]:
        lines = "".join(case.as_line(bases[case.service]) + "\n" for case in cases)
        found: dict[str, list[Answer]] = {case.name: [] for case in cases}
        for line in run("java", *JAVA_OPTIONS, str(DRIVERS / "Matrix.java"), version, text=lines).splitlines():
            name, status, http, length, sha256, error, *fields = line.split("\t")
            version_told = http.removeprefix("HTTP_").replace("_", ".")
            found[name].append(
                Answer(int(status), version_told, _fields(fields), None, int(length), sha256, None, None)
            )
            found[name][-1].error = None if error == "-" else error
        return found

    return ask_all


CLIENTS: Final[dict[str, Run]] = {
    "curl HTTP/1.1": curl("--http1.1"),
    "curl HTTP/2": curl("--http2-prior-knowledge"),
    "httpx HTTP/1.1": by_httpx(http2=False),
    "httpx HTTP/2": by_httpx(http2=True),
    "aiohttp": by_aiohttp,
    "Node http": by_node("http"),
    "Node http2": by_node("http2"),
    "Java HTTP/1.1": by_java("HTTP_1_1"),
    "Java HTTP/2": by_java("HTTP_2"),
}
"""Java offers HTTP/2 by `Upgrade: h2c`, which the proxy does not take: its answers are HTTP/1.1."""
