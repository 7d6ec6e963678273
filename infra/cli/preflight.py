"""What `tramo check --pre` looks at before a stack is deployed: credentials, rights and what builds it. Reads only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from infra.client import findings
from infra.client.findings import Finding
from infra.client.stack import CONFIG, open_session
from infra.local.settings import LocalError

DEFAULT_STACK: Final = "tramo"
TOOLS: Final = ("sam", "make", "python3")
"""What README.md deploys with."""
STUCK: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS")
"""States of a stack that cannot be updated."""
BUSY: Final = "_IN_PROGRESS"


def look(stack: str | None, region: str | None) -> Iterator[tuple[str, list[Finding]]]:
    """Yield each check with what it found."""
    missing = [each for each in TOOLS if shutil.which(each) is None]
    found = [findings.made(findings.NOT_READY, "machine", "PATH", f"{each} is not installed") for each in missing]
    yield f"{', '.join(TOOLS)} are installed", found
    what = "AWS knows the credentials"
    try:
        session = open_session(region)
        identity = session.client("sts", config=CONFIG).get_caller_identity()
    except (LocalError, BotoCoreError, ClientError) as error:
        yield what, [findings.made(findings.NOT_READY, "aws", "credentials", str(error))]
        return
    yield f"{what}: account {identity['Account']}, region {session.region_name}", []
    ecs = session.client("ecs", config=CONFIG)
    yield "ECS can be read", _may("ecs:ListClusters", lambda: ecs.list_clusters(maxResults=1))
    name = stack or DEFAULT_STACK
    yield f"stack {name} can be created or updated", _stack(session.client("cloudformation", config=CONFIG), name)


def _may(action: str, call: Any) -> list[Finding]:
    try:
        call()
    except (BotoCoreError, ClientError) as error:
        return [findings.made(findings.NOT_READY, "aws", action, str(error))]
    return []


def _stack(client: Any, name: str) -> list[Finding]:
    try:
        (found,) = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return []  # it will be created
        return [findings.made(findings.NOT_READY, "aws", "cloudformation:DescribeStacks", str(error))]
    except BotoCoreError as error:
        return [findings.made(findings.NOT_READY, "aws", "cloudformation:DescribeStacks", str(error))]
    state = found["StackStatus"]
    if state in STUCK:
        remedy = f"aws cloudformation delete-stack --stack-name {name}; the table stays (docs/uninstall.md)"
        return [findings.made(findings.NOT_READY, f"stack/{name}", "state", f"it is {state}", remedy)]
    if state.endswith(BUSY):
        remedy = "wait until it is done"
        return [findings.made(findings.NOT_READY, f"stack/{name}", "state", f"it is {state}", remedy)]
    return []
