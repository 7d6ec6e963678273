"""AWS's services that the mesh uses, by moto's server: DynamoDB with its stream, and CloudWatch.

Each runs in a process of its own, so that neither looking at metrics nor a busy table slows the other, or ECS:

    python -m infra.local.aws_server SERVICE REGION HOST DESCRIPTOR

The descriptor is a socket that listens already: who made it can connect before the server is there. moto is made for
tests that last seconds and do one thing at a time. Hence:

1. Requests are handled one at a time. A DynamoDB transaction that fails restores the tables as they were when it began,
   and would lose what others wrote meanwhile.
2. What moto would keep for ever on a machine that is `up` for days is thrown away: the iterators and records that the
   one reader of the stream has read, and metric values older than a quarter of an hour.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from moto.cloudwatch.models import cloudwatch_backends
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from infra.local.metric_data import MetricQueries
from infra.local.settings import ACCOUNT

TABLE: Final = "tramo"
METRICS_KEPT: Final = timedelta(minutes=15)

_Environ = dict[str, Any]
_StartResponse = Callable[..., Any]
Application = Callable[[_Environ, _StartResponse], Iterable[bytes]]


class _OneAtATime:
    """A WSGI application whose requests are handled one after the other."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> list[bytes]:
        with self._lock:
            return list(self._application(environ, start_response))


class _ForgetfulStream:
    """DynamoDB, whose stream forgets what its reader has read: an iterator after a record means that this one was."""

    def __init__(self, application: Application, region: str) -> None:
        self._application = application
        self._region = region

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        if str(environ.get("HTTP_X_AMZ_TARGET", "")) == "DynamoDBStreams_20120810.GetShardIterator":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ = {**environ, "wsgi.input": io.BytesIO(body)}
            request = json.loads(body)
            if request.get("ShardIteratorType") == "AFTER_SEQUENCE_NUMBER":
                self._forget(int(request["SequenceNumber"]))
        return self._application(environ, start_response)

    def _forget(self, last: int) -> None:
        dynamodbstreams_backends[ACCOUNT][self._region].shard_iterators.clear()
        shard = dynamodb_backends[ACCOUNT][self._region].tables[TABLE].stream_shard
        if shard is not None and (count := last + 1 - shard.starting_sequence_number) > 0:
            del shard.items[:count]
            shard.starting_sequence_number += count


class _ForgetfulMetrics:
    """CloudWatch, which forgets old values whenever there are new ones."""

    def __init__(self, application: Application, region: str, now: Callable[[], datetime]) -> None:
        self._application = application
        self._region = region
        self._now = now

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        limit = self._now() - METRICS_KEPT
        values = cloudwatch_backends[ACCOUNT][self._region].metric_data
        # moto keeps times as they came, those of some clients without their zone, UTC.
        old = next((i for i, v in enumerate(values) if v.timestamp.replace(tzinfo=UTC) >= limit), len(values))
        del values[:old]
        return self._application(environ, start_response)


def dynamodb(region: str) -> Application:
    """Return DynamoDB with its stream, and whatever else moto has."""
    return _OneAtATime(_ForgetfulStream(DomainDispatcherApplication(create_backend_app), region))


def cloudwatch(region: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Application:
    """Return CloudWatch."""
    moto = _ForgetfulMetrics(DomainDispatcherApplication(create_backend_app), region, now)
    return _OneAtATime(MetricQueries(moto, lambda: cloudwatch_backends[ACCOUNT][region].metric_data))


def server(application: Application, host: str, listening: int | None = None) -> BaseWSGIServer:
    """Return a server of the application on a listening socket, else on any port of the host."""
    return make_server(host, 0, application, threaded=True, request_handler=MotoRequestHandler, fd=listening)


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM."""
    service, region, host, descriptor = arguments
    application = {"dynamodb": dynamodb, "cloudwatch": cloudwatch}[service](region)
    made = server(application, host, int(descriptor))
    # shutdown() waits for the loop of serve_forever, which this very thread runs.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=made.shutdown).start())
    made.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
