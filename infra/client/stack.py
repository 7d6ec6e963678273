"""A stack in the user's own AWS account: the session that asks for it, and what its resources are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config

from infra.local.settings import LocalError

DEFAULT_MESH: Final = "Tramo"
"""CloudWatch's namespace of the mesh's own metrics, unless the stack says otherwise."""
CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=30)


def open_session(region: str | None) -> boto3.Session:
    """Return a session. Raises LocalError without credentials, and what botocore raises."""
    own = botocore.session.get_session()
    own.register_component("data_loader", _loader())
    session = boto3.Session(region_name=region, botocore_session=own)
    if session.get_credentials() is None:
        raise LocalError("no AWS credentials were found: set AWS_PROFILE, or sign in with aws sso login")
    return session


@cache
def _loader() -> Any:
    """Return what reads the descriptions of AWS's services; a command opens several sessions, and reads them once."""
    return botocore.session.get_session().get_component("data_loader")


@dataclass(frozen=True, slots=True)
class Description:
    """What a stack says of itself: the parameter Mesh and the output ApiUrl, empty if it has none."""

    mesh: str
    api_url: str


def describe(session: boto3.Session, stack: str) -> Description:
    """Return what the stack says of itself. Raises what botocore raises."""
    (found,) = session.client("cloudformation", config=CONFIG).describe_stacks(StackName=stack)["Stacks"]
    values = {each["ParameterKey"]: each.get("ParameterValue", "") for each in found.get("Parameters", [])}
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    # A stack of an earlier release has no parameter Mesh.
    return Description(values.get("Mesh", DEFAULT_MESH), outputs.get("ApiUrl", ""))


def resources(session: boto3.Session, stack: str) -> dict[str, str]:
    """Return the names of the stack's resources by what the template calls them. Raises what botocore raises."""
    client = session.client("cloudformation", config=CONFIG)
    return {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in client.get_paginator("list_stack_resources").paginate(StackName=stack)
        for resource in page["StackResourceSummaries"]
    }
