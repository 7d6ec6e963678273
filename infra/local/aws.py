"""AWS's services that the mesh uses, by moto's server in this process: DynamoDB with its stream, CloudWatch.

moto is made for tests that last seconds. What it would keep for ever on a machine that is `up` for days is
thrown away here: stream iterators that were used, and metric values older than a quarter of an hour.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from moto.cloudwatch.models import cloudwatch_backends
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.server import ThreadedMotoServer

from infra.local.settings import ACCESS_KEY, ACCOUNT, SECRET_KEY
from infra.local.streams import Record, to_event_record
from infra.local.template import ControlPlane

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

TABLE: Final = "tramo"
_METRICS_KEPT: Final = timedelta(minutes=15)
_CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=10)


class Aws:
    """The AWS of this machine. `start` and `stop` block for a second: call them in a thread."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.url = ""
        self.stream_arn = ""

    def start(self, plane: ControlPlane) -> None:
        """Start the server and create the table of the template."""
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request
        self._server.start()
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())
        dynamodb = boto3.client("dynamodb", **self.client_arguments())
        made = dynamodb.create_table(TableName=TABLE, **plane.table)
        self.stream_arn = made["TableDescription"]["LatestStreamArn"]
        if plane.ttl_attribute:
            dynamodb.update_time_to_live(
                TableName=TABLE,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": plane.ttl_attribute},
            )

    def stop(self) -> None:
        """Stop the server. What it held is gone."""
        self._server.stop()

    def client_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments that make a boto3 client one of this AWS."""
        return {
            "endpoint_url": self.url,
            "region_name": self._region,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "config": _CONFIG,
        }

    def cloudwatch(self) -> "CloudWatchClient":
        """Return a CloudWatch client."""
        return boto3.client("cloudwatch", **self.client_arguments())

    def forget_old_metrics(self, now: datetime) -> None:
        """Drop the metric values that nobody will ask for any more."""
        values = cloudwatch_backends[ACCOUNT][self._region].metric_data
        limit = now - _METRICS_KEPT
        # moto keeps times as they came, those of some clients without their zone, UTC.
        old = next((i for i, v in enumerate(values) if v.timestamp.replace(tzinfo=UTC) >= limit), len(values))
        del values[:old]


class StreamReader:
    """Reads the table's stream from its beginning."""

    def __init__(self, aws: Aws, region: str) -> None:
        self._client = boto3.client("dynamodbstreams", **aws.client_arguments())
        self._arn = aws.stream_arn
        self._backend = dynamodbstreams_backends[ACCOUNT][region]
        shards = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        if len(shards) != 1:
            raise RuntimeError(f"moto's streams have one shard, but {self._arn} has {len(shards)}")
        self._iterator = self._client.get_shard_iterator(
            StreamArn=self._arn, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    async def read(self) -> Sequence[Record]:
        """Return the next records, none if there is nothing new."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Sequence[Record]:
        answer: Mapping[str, Any] = self._client.get_records(ShardIterator=self._iterator)
        self._backend.shard_iterators.pop(self._iterator, None)
        self._iterator = answer["NextShardIterator"]
        return [to_event_record(record, self._arn) for record in answer["Records"]]


def utc_now() -> datetime:
    """Return the time with its zone."""
    return datetime.now(UTC)
