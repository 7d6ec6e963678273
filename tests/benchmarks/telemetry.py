"""`make bench-telemetry`: what single pieces of telemetry cost, in the compiled sidecar, in CPU time.

What they cost a request as a whole, on the way through the proxy, is in `make bench`'s group `telemetry`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.proxies import sidecar_kind, sidecar_says

_METER: Final = "from sidecar.core.meters import ClientMeter; meter = ClientMeter('orders')"
_METERS: Final = """
from sidecar.core.meters import Meters
from sidecar.telemetry import prometheus
from sidecar.telemetry.cloudwatch import calls
meters = Meters('web-svc', 'main')
for number in range(100):
    meters.client(f'service-{number}')
for number in range(20):
    meter = meters.client(f'service-{number}')
    meter.requests = meter.healthy = 10
    for each in range(200):
        meter.answered(200, each / 1000)
"""
_LINE: Final = """
from sidecar.core.access_log import HttpLine, Timestamps, as_json, as_text, milliseconds
timestamps = Timestamps()
def line():
    return HttpLine(timestamps.text(1795348800.1234), 'outbound', 'GET', '/orders/4711', 'HTTP/1.1', 200, '-', 0, 1832,
        milliseconds(0.0123), milliseconds(0.0119), '10.0.0.9', 'curl/8', '9c1b2d4e-11aa-4c3d-9e0f-abcdefabcdef',
        'orders', '10.0.1.17:15100', 'orders', 'a1173316d40a45de/http', 0, '127.0.0.1',
        '1-67891233-abcdef012345678912345678')
"""
_OUTPUT: Final = """
import asyncio, os
from sidecar.telemetry.output import Output
output = Output(asyncio.new_event_loop(), os.open('/dev/null', os.O_WRONLY))
"""
_OTLP: Final = """
from sidecar.core import otlp
from sidecar.core.durations import Durations, Kind
from sidecar.telemetry.otlp_metrics import metrics
durations = Durations()
durations.record(Kind(False, 'orders', 'GET', '1.1', 200, None, ''), 0.01)
"""
_TRACE: Final = """
from random import getrandbits
from sidecar.core.trace import Sampler, Span, begin
from sidecar.telemetry.xray import document
import msgspec
sampler = Sampler(0.05)
def fields():
    return [(b'host', b'orders'), (b'accept', b'*/*'), (b'user-agent', b'curl/8'),
        (b'x-amzn-trace-id', b'Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=0')]
span = Span('1-67891233-abcdef012345678912345678', '53995c3f42cd8ad8', '', 'orders', False, 1.0, 2.0, 'GET', 'orders',
    '/a', '1.1', '127.0.0.1', 'curl/8', 200)
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece: what it is, how often it happens, and how it is timed."""

    name: str
    when: str
    setup: str
    statement: str


PIECES: Final = (
    Piece(
        "count it and its latency",
        "a request",
        _METER,
        "meter.requests += 1; meter.bytes += 9; meter.answered(200, 0.0012)",
    ),
    Piece("access log: make a line of JSON", "a line", _LINE, "as_json(line())"),
    Piece("access log: make a line of text", "a line", _LINE, "as_text(line())"),
    Piece("access log: hand it over", "a line", _OUTPUT, "output.write(b'x' * 600)"),
    Piece(
        "trace: pass a header on",
        "a request",
        _TRACE,
        "begin(fields(), sampler, 'orders', False, 1.0, 1.0, getrandbits)",
    ),
    Piece(
        "trace: make a segment", "a sampled request", _TRACE, "msgspec.json.encode(document(span, 'web', getrandbits))"
    ),
    Piece(
        "trace: pass traceparent on as well",
        "a request",
        _TRACE,
        "begin(fields(), sampler, 'orders', False, 1.0, 1.0, getrandbits, True)",
    ),
    Piece("OTLP: make a span", "a sampled request", _TRACE + _OTLP, "otlp.span(span)"),
    Piece(
        "OTLP: count a duration",
        "a request",
        _OTLP,
        "durations.record(Kind(False, 'orders', 'GET', '1.1', 200, None, ''), 0.01)",
    ),
    Piece(
        "OTLP: make the metrics of 20 services called, of 100",
        "a minute",
        _METERS + _OTLP,
        "otlp.request(b'', '1', metrics(meters, durations, {}, 1.0, 2.0))",
    ),
    Piece(
        "take the counts of 20 services called, of 100",
        "a minute",
        _METERS,
        "[m.latency.record(0.01) for m in meters.clients.values() if m.requests]; calls(meters.take())",
    ),
    Piece(
        "/metrics of 20 services called, of 100",
        "a scrape",
        _METERS,
        "prometheus.render(prometheus.families(meters), True)",
    ),
)


def nanoseconds(piece: Piece) -> float:
    """The best time of several rounds."""
    printed = sidecar_says("-m", "timeit", "--process", "--unit=nsec", f"--setup={piece.setup}", piece.statement)
    return float(printed.partition("best of")[2].partition(":")[2].split()[0])


def main() -> int:
    """Time all pieces and print them."""
    table = Table(title=f"telemetry, sidecar {sidecar_kind()}", box=None, pad_edge=False, title_justify="left")
    table.add_column("PIECE")
    table.add_column("ONCE FOR")
    table.add_column("µs", justify="right")
    for piece in PIECES:
        table.add_row(piece.name, piece.when, f"{nanoseconds(piece) / 1000.0:.3g}")
    Console(highlight=False, width=None if sys.stdout.isatty() else 100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
