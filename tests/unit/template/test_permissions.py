"""Every permission of the stack, one line each: who may do what to which resource."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from api.app import app
from tests.support.control_plane import sam

REGISTRY_WRITER = "dynamodb:GetItem dynamodb:Query dynamodb:UpdateItem"
STREAM_READER = "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:ListStreams"
TRACES = "xray:PutTraceSegments xray:PutTelemetryRecords on *"
ARN = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:%s"
FEED_WRITER = [
    "dynamodb:BatchGetItem dynamodb:UpdateItem on Feed.Arn",
    "s3:PutObject on ${Snapshots.Arn}/snapshots/*",
]
MESH = "${RestApi}/live/"
NAMESPACE = "(if NamespaceByTag: ${aws:PrincipalTag/tramo-namespace}, else Namespace)"
KEY = (
    "if HasKmsKey: kms:Decrypt kms:DescribeKey kms:Encrypt kms:GenerateDataKey kms:ReEncryptFrom kms:ReEncryptTo "
    "on KmsKey if {'StringEquals': {'kms:ViaService': 'dynamodb.${AWS::Region}.amazonaws.com'}}"
)
BOTH = "['dynamodb.${AWS::Region}.amazonaws.com', 's3.${AWS::Region}.amazonaws.com']"
FEED_KEY = KEY.replace("'dynamodb.${AWS::Region}.amazonaws.com'", BOTH)
ZONE_WRITER = (
    "if HasHostedZone: route53:GetHostedZone route53:ListResourceRecordSets route53:ChangeResourceRecordSets "
    "on arn:${AWS::Partition}:route53:::hostedzone/${HostedZoneId}"
)

EXPECTED = {
    "RegistrarRole": [
        f"dynamodb:BatchGetItem {REGISTRY_WRITER} on Registry.Arn",
        KEY,
        "ecs:DescribeTaskDefinition on *",
        f"ecs:DescribeContainerInstances on {ARN % ('ecs', 'container-instance/*')}",
        "ec2:DescribeInstances on *",
        "sqs:SendMessage on DeadLetters.Arn",
        "logs:CreateLogStream logs:PutLogEvents on RegistrarLogs.Arn",
        TRACES,
    ],
    "ReconcilerRole": [
        f"dynamodb:BatchGetItem {REGISTRY_WRITER} on Registry.Arn",
        FEED_KEY,
        "dynamodb:DeleteItem on Registry.Arn "
        "if {'ForAllValues:StringLike': {'dynamodb:LeadingKeys': ['NAMESPACE#*', 'NAMESPACES']}}",
        "dynamodb:BatchGetItem dynamodb:DeleteItem dynamodb:UpdateItem on Feed.Arn",
        "s3:PutObject on ${Snapshots.Arn}/snapshots/*",
        "ecs:ListClusters ecs:ListTasks ecs:DescribeTaskDefinition on *",
        f"ecs:DescribeTasks on {ARN % ('ecs', 'task/*')}",
        f"ecs:DescribeContainerInstances on {ARN % ('ecs', 'container-instance/*')}",
        "ec2:DescribeInstances on *",
        "logs:CreateLogStream logs:PutLogEvents on ReconcilerLogs.Arn",
        ZONE_WRITER,
        TRACES,
    ],
    "PublisherRole": [
        "dynamodb:BatchGetItem dynamodb:GetItem dynamodb:Query dynamodb:UpdateItem on Registry.Arn",
        FEED_KEY,
        *FEED_WRITER,
        f"{STREAM_READER} on Registry.StreamArn",
        "sqs:SendMessage on DeadLetters.Arn",
        "logs:CreateLogStream logs:PutLogEvents on PublisherLogs.Arn",
        ZONE_WRITER,
        TRACES,
    ],
    "ApiRole": [
        "dynamodb:BatchGetItem dynamodb:GetItem dynamodb:Query dynamodb:UpdateItem on Registry.Arn",
        KEY,
        "dynamodb:DeleteItem on Registry.Arn if {'ForAllValues:StringLike': {'dynamodb:LeadingKeys': ['NAMESPACE#*']}}",
        "dynamodb:UpdateItem on Feed.Arn",
        "logs:CreateLogStream logs:PutLogEvents on ApiLogs.Arn",
        TRACES,
    ],
    "SidecarPolicy": [
        f"execute-api:Invoke on {ARN % ('execute-api', MESH + f'GET/v1/namespaces/{NAMESPACE}/snapshot')} "
        f"{ARN % ('execute-api', MESH + f'POST/v1/namespaces/{NAMESPACE}/tasks/*/health')} "
        f"{ARN % ('execute-api', MESH + f'POST/v1/namespaces/{NAMESPACE}/questions/*/answers/*')}",
        "dynamodb:GetItem on Feed.Arn "
        f"if {{'ForAllValues:StringLike': {{'dynamodb:LeadingKeys': ['FEED#{NAMESPACE}#*']}}}}",
        f"s3:GetObject on ${{Snapshots.Arn}}/snapshots/{NAMESPACE}/*",
        f"if HasKmsKey: kms:Decrypt kms:DescribeKey on KmsKey if {{'StringEquals': {{'kms:ViaService': {BOTH}}}}}",
        "cloudwatch:PutMetricData on * if {'StringEquals': {'cloudwatch:namespace': 'Mesh'}}",
        TRACES,
    ],
    "ReadPolicy": [
        f"execute-api:Invoke on {ARN % ('execute-api', MESH + 'GET/*')} "
        f"{ARN % ('execute-api', MESH + 'POST/v1/namespaces/*/questions')}",
        "cloudwatch:GetMetricData cloudwatch:GetMetricStatistics cloudwatch:ListMetrics on *",
        "cloudformation:DescribeStacks cloudformation:ListStackResources on AWS::StackId",
        "events:DescribeRule on RegistrarTaskState.Arn RegistrarServiceEvent.Arn ReconcilerSweep.Arn",
        "sqs:GetQueueAttributes on DeadLetters.Arn",
    ],
    "OperatePolicy": [
        f"execute-api:Invoke on {ARN % ('execute-api', MESH + 'PUT/v1/namespaces/*')} "
        f"{ARN % ('execute-api', MESH + 'DELETE/v1/namespaces/*')}",
        "sqs:ReceiveMessage sqs:DeleteMessage sqs:ChangeMessageVisibility on DeadLetters.Arn",
        "lambda:InvokeFunction on Registrar.Arn",
    ],
    "DeployPolicy": [
        f"execute-api:Invoke on {ARN % ('execute-api', MESH + f'GET/v1/namespaces/{NAMESPACE}/*')} "
        f"{ARN % ('execute-api', MESH + f'PUT/v1/namespaces/{NAMESPACE}/services/*/policy')} "
        f"{ARN % ('execute-api', MESH + f'DELETE/v1/namespaces/{NAMESPACE}/services/*/policy')}",
        "cloudformation:DescribeStacks cloudformation:ListStackResources on AWS::StackId",
        "ecs:DescribeTaskDefinition on *",
    ],
    "DeadLettersPolicy": [
        "events.amazonaws.com: sqs:SendMessage on DeadLetters.Arn "
        "if {'ArnEquals': {'aws:SourceArn': ['RegistrarTaskState.Arn', 'RegistrarServiceEvent.Arn']}}",
    ],
}

# AWS knows no resource for these ("Actions, resources, and condition keys" of each service).
WITHOUT_RESOURCE = {
    "cloudwatch:GetMetricData",
    "cloudwatch:GetMetricStatistics",
    "cloudwatch:ListMetrics",
    "cloudwatch:PutMetricData",
    "ec2:DescribeInstances",
    "ecs:DescribeTaskDefinition",
    "ecs:ListClusters",
    "ecs:ListTasks",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def spelled(value: Any) -> Any:
    """Write intrinsic functions as plain text: `Registry.Arn`, and what stands in `Fn::Sub`."""
    match value:
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"{resource}.{attribute}"
        case {"Fn::GetAtt": str(text)} | {"Ref": str(text)} | {"Fn::Sub": str(text)}:
            return text
        case {"Fn::Sub": [str(text), dict(own)]}:
            for name, each in own.items():
                text = text.replace(f"${{{name}}}", spelled(each))
            return text
        case {"Fn::If": [condition, yes, no]}:
            return f"(if {condition}: {spelled(yes)}, else {spelled(no)})"
        case dict():
            return {key: spelled(each) for key, each in value.items()}
        case list():
            return [spelled(each) for each in value]
    return value


def unconditional(statement: dict[str, Any]) -> dict[str, Any]:
    """Return a statement, also one that is there under a condition only."""
    if "Fn::If" not in statement:
        return statement
    _, found, otherwise = statement["Fn::If"]
    assert otherwise == {"Ref": "AWS::NoValue"}
    return dict(found)


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every policy document of the stack with the resource in which it stands."""
    for name, role in sam.resources("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, f"{name}: AWS's managed policies allow too much"
        for policy in role["Policies"]:
            yield name, policy["PolicyDocument"]
    for kind in ("AWS::IAM::ManagedPolicy", "AWS::SQS::QueuePolicy"):
        for name, policy in sam.resources(kind).items():
            yield name, policy["PolicyDocument"]


def statement_line(statement: dict[str, Any]) -> str:
    if "Fn::If" in statement:
        return f"if {statement['Fn::If'][0]}: {statement_line(unconditional(statement))}"
    assert statement["Effect"] == "Allow"
    assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys()
    line = f"{' '.join(listed(statement['Action']))} on {' '.join(listed(spelled(statement['Resource'])))}"
    if "Principal" in statement:
        line = f"{statement['Principal']['Service']}: {line}"
    if "Condition" in statement:
        line += f" if {spelled(statement['Condition'])}"
    return line


def test_the_permissions_are_these_and_no_others() -> None:
    found: dict[str, list[str]] = {}
    for name, document in documents():
        assert document["Version"] == "2012-10-17"
        found.setdefault(name, []).extend(statement_line(each) for each in document["Statement"])
    assert found == EXPECTED


def test_no_action_has_a_wildcard_and_resources_are_named() -> None:
    for name, document in documents():
        for statement in map(unconditional, document["Statement"]):
            actions = listed(statement["Action"])
            assert not [action for action in actions if "*" in action], name
            if "*" in listed(statement["Resource"]):
                assert set(actions) <= WITHOUT_RESOURCE, name


def test_only_lambda_takes_the_roles() -> None:
    for role in sam.resources("AWS::IAM::Role").values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }


def test_every_function_has_a_role_and_a_log_group_of_its_own() -> None:
    for name, function in sam.resources("AWS::Lambda::Function").items():
        assert spelled(function["Role"]) == f"{name}Role.Arn"
        assert spelled(function["LoggingConfig"]["LogGroup"]) == f"{name}Logs"


def test_functions_are_called_only_by_what_this_stack_made() -> None:
    permissions = sam.resources("AWS::Lambda::Permission")
    sources = {name: spelled(each["SourceArn"]) for name, each in permissions.items()}
    api = {name: source for name, source in sources.items() if name.startswith("Api")}
    assert {name: source for name, source in sources.items() if name not in api} == {
        "RegistrarTaskStatePermission": "RegistrarTaskState.Arn",
        "RegistrarServiceEventPermission": "RegistrarServiceEvent.Arn",
        "ReconcilerSweepPermission": "ReconcilerSweep.Arn",
    }
    for name in api:
        source, values = permissions[name]["SourceArn"]["Fn::Sub"]
        assert "${__ApiId__}/${__Stage__}/" in source
        assert values["__ApiId__"] == {"Ref": "RestApi"}


def test_every_route_that_is_signed_is_allowed_to_somebody() -> None:
    """A command whose route is in no policy works for administrators only, who are those that test it."""
    allowed = []
    for policy in sam.resources("AWS::IAM::ManagedPolicy").values():
        for statement in map(unconditional, policy["PolicyDocument"]["Statement"]):
            if "execute-api:Invoke" in listed(statement["Action"]):
                texts = [listed(resource["Fn::Sub"])[0] for resource in listed(statement["Resource"])]
                allowed += [text.partition("/live/")[2].replace("${Name}", "*") for text in texts]
    routes = {f"{method}{path}" for path, methods in app.routes.items() for method in methods}
    assert "POST/v1/namespaces/{namespace}/questions" in routes
    assert [route for route in routes if not any(fnmatchcase(route, each) for each in allowed)] == []
