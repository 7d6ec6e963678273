"""How AWS answers when all goes well: what a rehearsal hears. Only what the trial reads of an answer is there."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from infra.trial.account import TrialError

ACCOUNT: Final = "123456789012"


class GoodDay:
    """An account in which everything works at once. Call it as `account.Answers`."""

    def __init__(self, name: str, region: str) -> None:
        self._name = name
        self._region = region
        self._is_deployed = False
        self._revisions: dict[str, int] = {}
        self._objects = deque([[{"Key": f"snapshots/trial.local/{name}.json.gz"}], []])
        self._called = 0
        self._is_replaced = False

    def __call__(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return an answer. Raises TrialError where AWS says that there is no such stack."""
        answer = getattr(self, f"_{operation}", None)
        found: dict[str, Any] = answer(parameters) if answer is not None else {}
        return found

    def _deploy(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._is_deployed = True
        return {}

    def _get_caller_identity(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/you/you"}

    def _describe_stacks(self, _: Mapping[str, Any]) -> dict[str, Any]:
        if not self._is_deployed:
            raise TrialError(f"Stack with id {self._name} does not exist", "ValidationError")
        outputs = {
            "ApiUrl": f"https://a1b2c3.execute-api.{self._region}.amazonaws.com/live",
            "FeedTableName": f"{self._name}-Feed-1",
            "SidecarPolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/{self._name}-SidecarPolicy-1",
        }
        return {"Stacks": [{"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]}]}

    def _create_role(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/{parameters['RoleName']}"}}

    def _describe_subnets(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"Subnets": [{"VpcId": "vpc-0a1"}]}

    def _create_security_group(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"GroupId": "sg-0a1"}

    def _register_task_definition(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        family = parameters["family"]
        revision = self._revisions[family] = self._revisions.get(family, 0) + 1
        arn = f"arn:aws:ecs:{self._region}:{ACCOUNT}:task-definition/{family}:{revision}"
        return {"taskDefinition": {"taskDefinitionArn": arn}}

    def _update_service(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._is_replaced = True
        return {}

    def _describe_services(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"services": [{"deployments": [{"status": "PRIMARY", "rolloutState": "COMPLETED"}]}]}

    def _list_tasks(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"taskArns": []}

    def _describe_log_streams(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"logStreams": [{"logStreamName": "caller/caller/0a1"}]}

    def _get_log_events(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self._called += 600
        answers = {"0a1": {"version": "1", "count": self._called}}
        if self._is_replaced:
            answers["0b2"] = {"version": "2", "count": 600}
        line = {"sent": self._called, "failed": 0, "answers": answers, "errors": []}
        return {"events": [{"message": json.dumps(line)}]}

    def _list_stack_resources(self, _: Mapping[str, Any]) -> dict[str, Any]:
        kinds = {"Registry": "AWS::DynamoDB::Table", "ApiLogs": "AWS::Logs::LogGroup", "Snapshots": "AWS::S3::Bucket"}
        return {
            "StackResourceSummaries": [
                {"ResourceType": kind, "PhysicalResourceId": f"{self._name}-{name.lower()}-1"}
                for name, kind in kinds.items()
            ]
        }

    def _list_objects_v2(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"Contents": self._objects.popleft()} if self._objects else {}
