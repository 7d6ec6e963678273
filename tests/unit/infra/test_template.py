from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.pattern import matches
from infra.local.template import TemplateError, load, with_stream


def test_the_template_of_the_project() -> None:
    plane = load(parameters={"PollSeconds": "1"}, table="t")
    functions = {function.name: function for function in plane.functions}
    assert set(functions) == {"Registrar", "Reconciler", "Publisher", "Api"}
    assert plane.table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert plane.ttl_attribute == "expires_at"
    patterns = functions["Registrar"].patterns
    event = {
        "source": "aws.ecs",
        "detail-type": "ECS Task State Change",
        "detail": {"lastStatus": "RUNNING", "desiredStatus": "STOPPED", "group": "family:orders"},
    }
    assert [matches(pattern, event) for pattern in patterns].count(True) == 1, "or it would be handled twice"
    assert functions["Registrar"].environment["TRAMO_TABLE"] == "t"
    assert functions["Reconciler"].every == 60
    assert functions["Api"].environment["TRAMO_POLL_SECONDS"] == "1"
    assert "/v1/namespaces/{namespace}/snapshot" in {route.path for route in functions["Api"].routes}
    assert [route.path for route in functions["Api"].routes if route.open] == ["/v1/health"]
    stream = functions["Publisher"].stream
    assert stream is not None
    assert [matches(stream.filters[0], {"dynamodb": {"Keys": {"sk": {"S": sk}}}}) for sk in ("TASK#1", "HEAD")] == [
        True,
        False,
    ]


TEMPLATE = """
Parameters:
  Seconds: {Type: Number, Default: 5}
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties: {KeySchema: []}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: f.handler
      CodeUri: f/
      %s
"""


def write(path: Path, properties: str) -> Path:
    file = path / "template.yaml"
    file.write_text(TEMPLATE % properties)
    return file


def test_parameters_and_the_table_are_resolved(tmp_path: Path) -> None:
    variables = "Environment: {Variables: {SECONDS: !Ref Seconds, TABLE: !Ref Table}}"
    [function] = load(write(tmp_path, variables), table="mine").functions
    assert function.environment == {"SECONDS": "5", "TABLE": "mine"}
    assert (function.timeout, function.memory, function.retries) == (3, 128, 2)
    assert function.code == tmp_path / "f"


def test_a_variable_gets_the_tables_stream_once_there_is_one(tmp_path: Path) -> None:
    variables = "Environment: {Variables: {STREAM: !GetAtt Table.StreamArn, TABLE: !Ref Table}}"
    [function] = load(write(tmp_path, variables), table="mine").functions
    assert with_stream(function, "arn:x").environment == {"STREAM": "arn:x", "TABLE": "mine"}


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ("Environment: {Variables: {ARN: !GetAtt Table.Arn}}", "ARN uses !GetAtt"),
        ("Events: {E: {Type: Schedule, Properties: {Schedule: 'cron(* * * * ? *)'}}}", "rate"),
        ("Events: {E: {Type: S3, Properties: {}}}", "S3"),
    ],
)
def test_what_cannot_be_stood_in_for_is_an_error(tmp_path: Path, properties: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        load(write(tmp_path, properties))


def test_a_parameter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no parameter Other"):
        load(write(tmp_path, "Timeout: 4"), parameters={"Other": "1"})


def test_no_template(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="checkout"):
        load(tmp_path / "template.yaml")


def test_the_registry_is_the_table_with_a_stream_and_others_have_names_of_their_own() -> None:
    plane = load(table="t")
    assert list(plane.other_tables) == ["t-feed"]
    assert "StreamSpecification" not in plane.other_tables["t-feed"]
    assert plane.buckets == ("t-snapshots",)
    publisher = next(function for function in plane.functions if function.name == "Publisher")
    assert publisher.environment["TRAMO_FEED_TABLE"] == "t-feed"
    assert publisher.environment["TRAMO_FEED_BUCKET"] == "t-snapshots"
