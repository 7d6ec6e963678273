"""The feed's client against a server that answers as written down."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.registry.feed import FeedClient, FeedError, FeedHead
from tests.support.wire.fake_http import FakeHttp, given_credentials

HEAD = {
    "epoch": {"S": "a1"},
    "revision": {"N": "42"},
    "since": {"N": "40"},
    "seconds": {"N": "2"},
    "bucket": {"S": "the-bucket"},
    "whole": {"N": "41"},
    "new": {"S": "of a later release"},
}


class FakeAws(FakeHttp):
    """DynamoDB and S3."""

    def client(self) -> FeedClient:
        return FeedClient("the-feed", "shop.local", 5, "eu-west-1", given_credentials(), self.origin, self.origin)

    def answers(self, item: Any) -> FeedClient:
        self.body = json.dumps({} if item is None else {"Item": item}).encode()
        return self.client()


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as found:
        yield found


def test_the_head_is_read_from_the_copy_of_this_task(aws: FakeAws) -> None:
    assert aws.answers(HEAD).head() == FeedHead("a1", 42, 40, 2.0, "the-bucket", 41)
    ((method, path, fields, call),) = aws.requests
    assert (method, path, fields["x-amz-target"]) == ("POST", "/", "DynamoDB_20120810.GetItem")
    assert "/eu-west-1/dynamodb/aws4_request" in fields["authorization"]
    assert json.loads(call) == {
        "TableName": "the-feed",
        "Key": {"pk": {"S": "FEED#shop.local#5"}, "sk": {"S": "HEAD"}},
        "ConsistentRead": False,
    }


def test_a_feed_without_a_bucket_has_no_whole_document(aws: FakeAws) -> None:
    least = {name: HEAD[name] for name in ("epoch", "revision", "since")}
    head = aws.answers(least).head()
    assert head == FeedHead("a1", 42, 40, None, "", None)
    with pytest.raises(FeedError, match="names no bucket"):
        aws.client().whole(head)


def test_a_namespace_that_is_not_there(aws: FakeAws) -> None:
    assert aws.answers(None).head() is None
    assert aws.answers(None).changes(False) is None


@pytest.mark.parametrize("consistent", [False, True])
def test_changes(aws: FakeAws, consistent: bool) -> None:
    data = base64.b64encode(gzip.compress(b'{"a": 1}')).decode()
    item = {**HEAD, "data": {"B": data}}
    changes = aws.answers(item).changes(consistent)
    assert changes is not None
    assert changes == ("a1", 42, 40, b'{"a": 1}')
    call = json.loads(aws.requests[0][3])
    assert call["ConsistentRead"] is consistent
    assert call["Key"]["sk"] == {"S": "CHANGES"}
    assert aws.answers(HEAD).changes(consistent) is None, "they are too large"


def test_a_whole_document_is_read_from_the_bucket(aws: FakeAws) -> None:
    aws.body = gzip.compress(b'{"a": 1}')
    assert aws.client().whole(FeedHead("a1", 42, 40, 1.0, "the-bucket", 41)) == b'{"a": 1}'
    ((method, path, fields, _),) = aws.requests
    assert (method, path) == ("GET", "/the-bucket/snapshots/shop.local/a1-41.json.gz")
    assert "/eu-west-1/s3/aws4_request" in fields["authorization"]
    assert "x-amz-content-sha256" in fields


@pytest.mark.parametrize("bucket", ["", "x", "evil.example.com/path", "UPPER", "a@b.example"])
def test_what_is_no_name_of_a_bucket_is_not_asked(aws: FakeAws, bucket: str) -> None:
    with pytest.raises(FeedError, match="names no bucket"):
        aws.client().whole(FeedHead("a1", 42, 40, 1.0, bucket, 41))
    assert aws.requests == []


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("com.amazon.coral.service#AccessDeniedException", "attach the policy"),
        ("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "set TRAMO_FEED_TABLE"),
        ("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", "FeedReadCapacity"),
    ],
)
def test_what_dynamodb_refuses_says_what_to_look_at(aws: FakeAws, code: str, hint: str) -> None:
    aws.status, aws.body = 400, json.dumps({"__type": code}).encode()
    with pytest.raises(FeedError, match=f"DynamoDB answered 400 .*{hint}"):
        aws.client().head()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"__type": 3}'])
def test_any_other_answer_is_an_error_too(aws: FakeAws, body: bytes) -> None:
    aws.status, aws.body = 503, body
    with pytest.raises(FeedError, match="DynamoDB answered 503"):
        aws.client().head()


@pytest.mark.parametrize("item", [{}, {"revision": {"N": "x"}, "since": {"N": "1"}}, {"revision": {"S": "1"}}])
def test_a_head_of_another_form_is_an_error(aws: FakeAws, item: dict[str, Any]) -> None:
    with pytest.raises(FeedError, match="the feed has no revision"):
        aws.answers(item).head()


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"x" * 100)[:-9]])
def test_damaged_changes_and_documents_are_errors(aws: FakeAws, data: bytes) -> None:
    item = {**HEAD, "data": {"B": base64.b64encode(data).decode()}}
    with pytest.raises(FeedError, match="damaged"):
        aws.answers(item).changes(False)
    aws.body = data
    with pytest.raises(FeedError, match="cannot be read"):
        aws.client().whole(FeedHead("a1", 42, 40, 1.0, "the-bucket", 41))


def test_a_bucket_that_refuses_is_an_error(aws: FakeAws) -> None:
    aws.status = 403
    with pytest.raises(FeedError, match=r"S3 answered 403 .*the task role may not read it"):
        aws.client().whole(FeedHead("a1", 42, 40, 1.0, "the-bucket", 41))


def test_nobody_there_is_an_error() -> None:
    client = FeedClient("the-feed", "shop.local", 5, "eu-west-1", given_credentials(), "http://127.0.0.1:9")
    with pytest.raises(FeedError, match="the feed the-feed cannot be read"):
        client.head()
