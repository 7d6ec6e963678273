"""The health of a stack in AWS: its rule, its dead letters and its functions. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from infra.client import findings
from infra.client.findings import Finding
from infra.client.stack import CONFIG, open_session, resources
from infra.local.settings import LocalError

RULES: Final = ("RegistrarTaskState", "RegistrarServiceEvent", "ReconcilerSweep")
FUNCTIONS: Final = ("Registrar", "Reconciler", "Publisher", "Api")
RECENT_MINUTES: Final = 10


def stack_findings(stack: str, region: str | None) -> Iterator[tuple[str, list[Finding]]]:
    """Yield each check of the stack with what it found. Raises LocalError."""
    try:
        session = open_session(region)
        names = resources(session, stack)
        yield "the rules bring events to the functions", _rules(session.client("events", config=CONFIG), names)
        yield "every event was handled", _letters(session.client("sqs", config=CONFIG), names)
        yield "no function has failed of late", function_findings(session.client("cloudwatch", config=CONFIG), names)
    except (BotoCoreError, ClientError) as error:
        raise LocalError(f"stack {stack}: {error}") from error


def _rules(client: Any, names: Mapping[str, str]) -> list[Finding]:
    found = []
    for rule in RULES:
        # A rule's id has the bus before it, where it is not on the default one.
        name = names.get(rule, "").rpartition("|")[2]
        try:
            state = client.describe_rule(Name=name)["State"] if name else "not there"
        except client.exceptions.ResourceNotFoundException:
            state = "not there"
        if not state.startswith("ENABLED"):
            remedy = f"aws events enable-rule --name {name}" if name else findings.RULE_OFF.remedy
            found.append(findings.made(findings.RULE_OFF, f"stack/{rule}", "rule", f"it is {state.lower()}", remedy))
    return found


def _letters(client: Any, names: Mapping[str, str]) -> list[Finding]:
    attribute = "ApproximateNumberOfMessages"
    answer = client.get_queue_attributes(QueueUrl=names["DeadLetters"], AttributeNames=[attribute])
    count = int(answer["Attributes"][attribute])
    if not count:
        return []
    what = f"about {count} events failed and wait"
    return [findings.made(findings.DEAD_LETTERS, "stack/DeadLetters", "dead letters", what)]


def function_findings(client: Any, names: Mapping[str, str]) -> list[Finding]:
    """Return the functions that have failed of late, by the errors that CloudWatch has of them."""
    found = []
    end = datetime.now(UTC)
    for function in FUNCTIONS:
        answer = client.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Dimensions=[{"Name": "FunctionName", "Value": names[function]}],
            StartTime=end - timedelta(minutes=RECENT_MINUTES),
            EndTime=end,
            Period=60 * RECENT_MINUTES,
            Statistics=["Sum"],
        )
        errors = int(sum(point["Sum"] for point in answer["Datapoints"]))
        if errors:
            what = f"{errors} of its invocations failed in the last {RECENT_MINUTES} minutes"
            remedy = f"aws logs tail /aws/lambda/{names[function]} --since {RECENT_MINUTES}m"
            found.append(findings.made(findings.FUNCTION_FAILS, f"function/{function}", "invocations", what, remedy))
    return found
