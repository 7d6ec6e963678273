"""moto as the AWS of a machine: above all its stream, through what once made it fall silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local.aws import Aws, StreamReader
from infra.local.aws_server import METRICS_KEPT, TABLE
from tests.support.control_plane.local_aws import local_aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def aws() -> Iterator[Aws]:
    # A region of its own: moto's backends are one for the whole process.
    with local_aws("eu-west-1") as made:
        yield made


@pytest.fixture
def dynamodb(aws: Aws) -> DynamoDBClient:
    return boto3.client("dynamodb", **aws.client_arguments())


def put(dynamodb: DynamoDBClient, key: str) -> None:
    dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "p"}, "sk": {"S": key}, "body": {"B": b"x"}})


def keys(reader: StreamReader) -> list[str]:
    return [record["dynamodb"]["Keys"]["sk"]["S"] for record in asyncio.run(reader.read())]


def failing_transaction(dynamodb: DynamoDBClient) -> None:
    with pytest.raises(ClientError, match="TransactionCanceled"):
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": TABLE, "Item": {"pk": {"S": "p"}, "sk": {"S": "never"}}}},
                {
                    "Put": {
                        "TableName": TABLE,
                        "Item": {"pk": {"S": "p"}, "sk": {"S": "a"}},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
            ]
        )


def test_every_record_is_read_once_and_in_order(aws: Aws, dynamodb: DynamoDBClient) -> None:
    reader = StreamReader(aws)
    assert keys(reader) == []
    put(dynamodb, "a")
    put(dynamodb, "b")
    assert keys(reader) == ["a", "b"]
    assert keys(reader) == []
    put(dynamodb, "c")
    assert keys(reader) == ["c"]


def test_a_transaction_that_fails_does_not_end_the_stream(aws: Aws, dynamodb: DynamoDBClient) -> None:
    reader = StreamReader(aws)
    put(dynamodb, "a")
    assert keys(reader) == ["a"]
    failing_transaction(dynamodb)
    put(dynamodb, "b")
    assert keys(reader) == ["b"]


def test_a_transaction_that_fails_takes_nothing_with_it(aws: Aws, dynamodb: DynamoDBClient) -> None:
    put(dynamodb, "a")

    def write() -> None:
        for number in range(20):
            put(dynamodb, f"w{number:02}")

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(10):
        failing_transaction(dynamodb)
    writer.join()
    items = dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
    assert {item["sk"]["S"] for item in items} == {"a", *(f"w{number:02}" for number in range(20))}


def test_a_record_has_the_form_that_lambda_gives_it(aws: Aws, dynamodb: DynamoDBClient) -> None:
    reader = StreamReader(aws)
    put(dynamodb, "a")
    [record] = asyncio.run(reader.read())
    assert (record["eventName"], record["eventSource"]) == ("INSERT", "aws:dynamodb")
    assert record["eventSourceARN"] == aws.stream_arn
    assert record["dynamodb"]["NewImage"]["body"] == {"B": "eA=="}
    assert isinstance(record["dynamodb"]["ApproximateCreationDateTime"], int)


def test_the_time_to_live_is_that_of_the_template(aws: Aws, dynamodb: DynamoDBClient) -> None:
    found = dynamodb.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    assert found == {"AttributeName": "expires_at", "TimeToLiveStatus": "ENABLED"}


def test_what_was_read_of_the_stream_is_forgotten(aws: Aws, dynamodb: DynamoDBClient) -> None:
    reader = StreamReader(aws)
    for key in ("a", "b"):
        put(dynamodb, key)
        assert keys(reader) == [key]
    assert keys(StreamReader(aws)) == ["b"], "a new reader finds what the last one has not confirmed"


def test_old_metric_values_are_forgotten() -> None:
    now = datetime.now(UTC)
    later = [now]
    with local_aws("eu-west-3", lambda: later[0]) as aws:
        forget(aws, now, later)


def forget(aws: Aws, now: datetime, later: list[datetime]) -> None:
    cloudwatch = aws.cloudwatch()

    def total() -> float:
        answer = cloudwatch.get_metric_statistics(
            Namespace="Tramo",
            MetricName="RequestCount",
            StartTime=now - timedelta(hours=2),
            EndTime=now + timedelta(hours=1),
            Period=86400,
            Statistics=["Sum"],
        )
        return sum(point["Sum"] for point in answer["Datapoints"])

    values: list[tuple[Any, float]] = [(now - timedelta(minutes=5), 1.0), (now, 2.0)]
    for at, value in values:
        cloudwatch.put_metric_data(
            Namespace="Tramo", MetricData=[{"MetricName": "RequestCount", "Timestamp": at, "Value": value}]
        )
    assert total() == 3.0
    later[0] = now - timedelta(minutes=4) + METRICS_KEPT
    assert total() == 2.0
