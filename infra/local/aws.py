"""AWS's services that the mesh uses, as their callers on this machine see them: where they are, and what they hold.

They are moto's, in processes of their own (aws_server.py). Every read of the stream begins with a new iterator: an old
one reads the table that a failed transaction has replaced.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from infra.local.aws_server import TABLE
from infra.local.process import Launcher, Process
from infra.local.settings import ACCESS_KEY, REPOSITORY, SECRET_KEY
from infra.local.streams import Record, to_event_record
from infra.local.template import ControlPlane

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodbstreams.type_defs import GetShardIteratorInputTypeDef

_CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=10)
_FIRST_CALL_SECONDS: Final = 120  # on a machine with much other work
_STOP_SECONDS: Final = 5.0


class Aws:
    """DynamoDB and what else moto has at one URL, CloudWatch at another."""

    def __init__(self, region: str, url: str, cloudwatch_url: str) -> None:
        self.url = url
        self.cloudwatch_url = cloudwatch_url
        self.stream_arn = ""
        self._region = region

    def create(self, plane: ControlPlane) -> None:
        """Create the stack's tables and buckets. It blocks until the server is there."""
        # The first call: moto loads what it needs, and a table must not be made twice.
        patient = Config(read_timeout=_FIRST_CALL_SECONDS, retries={"total_max_attempts": 1})
        dynamodb = boto3.client("dynamodb", **self.client_arguments() | {"config": patient})
        made = dynamodb.create_table(TableName=TABLE, **plane.table)
        self.stream_arn = made["TableDescription"]["LatestStreamArn"]
        for name, table in plane.other_tables.items():
            dynamodb.create_table(TableName=name, **table)
        s3 = boto3.client("s3", **self.client_arguments() | {"config": patient})
        for bucket in plane.buckets:
            place: Any = {"LocationConstraint": self._region}  # boto3's types list the regions
            elsewhere: Any = {} if self._region == "us-east-1" else {"CreateBucketConfiguration": place}
            s3.create_bucket(Bucket=bucket, **elsewhere)
        if plane.ttl_attribute:
            dynamodb.update_time_to_live(
                TableName=TABLE,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": plane.ttl_attribute},
            )

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
        return boto3.client("cloudwatch", **self.client_arguments() | {"endpoint_url": self.cloudwatch_url})


async def start_server(service: str, region: str, host: str, launcher: Launcher, log: Path) -> tuple[str, Process]:
    """Start a server of aws_server.py; return its URL, at which connections wait until it is there, and its process."""
    with socket.create_server((host, 0), backlog=128) as listening:
        arguments = (service, region, host, str(listening.fileno()))
        process = await launcher.start(
            (sys.executable, "-m", "infra.local.aws_server", *arguments),
            environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            directory=REPOSITORY,
            log=log,
            descriptors=(listening.fileno(),),
        )
        return f"http://{host}:{listening.getsockname()[1]}", process


async def stop_server(process: Process) -> None:
    """End a server."""
    await process.stop(_STOP_SECONDS)


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
            self._position["ShardIteratorType"] = "AFTER_SEQUENCE_NUMBER"
            self._position["SequenceNumber"] = records[-1]["dynamodb"]["SequenceNumber"]
        return [to_event_record(record, self._aws.stream_arn) for record in records]
