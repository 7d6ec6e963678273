"""AWS's services that the mesh uses, by moto's server in this process: DynamoDB with its stream, CloudWatch.

moto is made for tests that last seconds and do one thing at a time. Hence:

1. Requests are worked one at a time. A DynamoDB transaction that fails puts the tables back as they were when it began,
   and would take with it what others wrote meanwhile.
2. Every read of the stream begins with a new iterator: an old one reads the table that such a transaction has replaced.
3. What moto would keep for ever on a machine that is `up` for days is thrown away: iterators and records that were
   read, and metric values older than a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from moto.cloudwatch.models import cloudwatch_backends
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from infra.local.metric_data import MetricQueries
from infra.local.settings import ACCESS_KEY, ACCOUNT, SECRET_KEY
from infra.local.streams import Record, to_event_record
from infra.local.template import ControlPlane

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodbstreams.type_defs import GetShardIteratorInputTypeDef

TABLE: Final = "tramo"
_METRICS_KEPT: Final = timedelta(minutes=15)
_CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=10)
_FIRST_CALL_SECONDS: Final = 120  # on a machine with much other work

_Environ = dict[str, Any]
_StartResponse = Callable[..., Any]


class _OneAtATime:
    """A WSGI application whose requests are worked one after the other."""

    def __init__(self, application: Callable[[_Environ, _StartResponse], Iterable[bytes]]) -> None:
        self._application = application
        self.lock = threading.Lock()

    def __call__(self, environ: _Environ, start_response: _StartResponse) -> list[bytes]:
        with self.lock:
            return list(self._application(environ, start_response))


class Aws:
    """The AWS of this machine. `start` and `stop` block for a second: call them in a thread."""

    def __init__(self, region: str, host: str = "127.0.0.1") -> None:
        self._region = region
        moto = DomainDispatcherApplication(create_backend_app)
        self._application = _OneAtATime(MetricQueries(moto, lambda: cloudwatch_backends[ACCOUNT][region].metric_data))
        self._server = make_server(host, 0, self._application, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="moto", daemon=True)
        self.url = f"http://{host}:{self._server.server_port}"
        self.stream_arn = ""

    def start(self, plane: ControlPlane) -> None:
        """Start the server and create the table of the template."""
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
        self._thread.start()
        # The first call makes moto import what it needs, and a table must not be made twice.
        patient = Config(read_timeout=_FIRST_CALL_SECONDS, retries={"total_max_attempts": 1})
        dynamodb = boto3.client("dynamodb", **self.client_arguments() | {"config": patient})
        made = dynamodb.create_table(TableName=TABLE, **plane.table)
        self.stream_arn = made["TableDescription"]["LatestStreamArn"]
        if plane.ttl_attribute:
            dynamodb.update_time_to_live(
                TableName=TABLE,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": plane.ttl_attribute},
            )

    def stop(self) -> None:
        """Stop the server and forget what it held."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        dynamodb_backends[ACCOUNT][self._region].tables.pop(TABLE, None)
        cloudwatch_backends[ACCOUNT][self._region].metric_data.clear()

    def client_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make a boto3 client one of this AWS."""
        return {
            "endpoint_url": self.url,
            "region_name": self._region,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "config": _CONFIG,
        }

    def cloudwatch(self) -> CloudWatchClient:
        """Return a CloudWatch client."""
        return boto3.client("cloudwatch", **self.client_arguments())

    def forget_records(self, last: int) -> None:
        """Drop the stream's records up to this sequence number, and all iterators."""
        with self._application.lock:
            dynamodbstreams_backends[ACCOUNT][self._region].shard_iterators.clear()
            shard = dynamodb_backends[ACCOUNT][self._region].tables[TABLE].stream_shard
            if shard is not None:
                count = last + 1 - shard.starting_sequence_number
                del shard.items[:count]
                shard.starting_sequence_number += count

    def forget_metrics(self, now: datetime) -> None:
        """Drop the metric values that nobody will ask for any more."""
        limit = now - _METRICS_KEPT
        with self._application.lock:
            values = cloudwatch_backends[ACCOUNT][self._region].metric_data
            # moto keeps times as they came, those of some clients without their zone, UTC.
            old = next((i for i, v in enumerate(values) if v.timestamp.replace(tzinfo=UTC) >= limit), len(values))
            del values[:old]


class StreamReader:
    """Reads the table's stream from its beginning."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._client = boto3.client("dynamodbstreams", **aws.client_arguments())
        shards = self._client.describe_stream(StreamArn=aws.stream_arn)["StreamDescription"]["Shards"]
        if len(shards) != 1:
            raise RuntimeError(f"moto's streams have one shard, but {aws.stream_arn} has {len(shards)}")
        self._position: GetShardIteratorInputTypeDef = {
            "StreamArn": aws.stream_arn,
            "ShardId": shards[0]["ShardId"],
            "ShardIteratorType": "TRIM_HORIZON",
        }

    async def read(self) -> Sequence[Record]:
        """Return the next records, none if there is nothing new."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Sequence[Record]:
        iterator = self._client.get_shard_iterator(**self._position)["ShardIterator"]
        records: Sequence[Mapping[str, Any]] = self._client.get_records(ShardIterator=iterator)["Records"]
        if records:
            last = records[-1]["dynamodb"]["SequenceNumber"]
            self._position["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER"
            self._position["SequenceNumber"] = last
            self._aws.forget_records(int(last))
        return [to_event_record(record, self._aws.stream_arn) for record in records]


def utc_now() -> datetime:
    """Return the time with its zone."""
    return datetime.now(UTC)
