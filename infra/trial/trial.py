"""The trial itself: make all, replace the tasks of a service under load, look at what the caller saw, remove all.

Rules:
1. What was made is removed, last first, also after a failure and Ctrl-C. What cannot be removed is named.
2. Nothing is removed that the trial did not make: it refuses a name that a stack has already.
3. Every wait has an end, and all of them together `MOST_SECONDS`. Removing has its own time.
4. The mesh has the trial's name, so that another stack of the account is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from infra.trial import definitions, tally
from infra.trial.account import Account, TrialError
from infra.trial.definitions import Place
from infra.trial.tally import Report, Tally

MOST_SECONDS: Final = 2_700.0
REMOVAL_SECONDS: Final = 900.0
STABLE_SECONDS: Final = 600.0
"""For a service: pulling two images takes most of a minute, a task's drain at most 30 s."""
LOG_SECONDS: Final = 180.0
SETTLE_SECONDS: Final = 30.0
"""Of load behind the deployment: old tasks end after ECS calls it complete."""
EVERY_SECONDS: Final = 10.0
WARM_REQUESTS: Final = 100
MOST_LINES: Final = 50
"""Of the caller's log, the newest: a line every 5 s."""
MOST_PAGES: Final = 100
"""Of objects in the bucket, a thousand each."""
INGRESS_PORTS: Final = (15100, 15199)

_TRUST: Final = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, '
    '"Action": "sts:AssumeRole"}]}'
)
_IN_USE: Final = ("DependencyViolation", "ClusterContainsTasksException", "ClusterContainsServicesException")
_EXECUTION_POLICY: Final = "service-role/AmazonECSTaskExecutionRolePolicy"


@dataclass(frozen=True, slots=True)
class Order:
    """What the user wants. `is_public` gives the tasks public addresses, which they need in subnets without NAT."""

    name: str
    region: str
    image: str
    subnets: tuple[str, ...]
    is_public: bool = True
    keep: bool = False


class Trial:
    """One trial."""

    def __init__(self, order: Order, account: Account, out: TextIO) -> None:
        self._order = order
        self._account = account
        self._out = out
        self._ends_at = account.now() + MOST_SECONDS
        self._undo: list[tuple[str, Callable[[], object]]] = []

    def run(self) -> Report:
        """Make the trial, and remove what was made. Raises TrialError."""
        left: list[str] = []
        try:
            report = self._run()
        finally:
            if self._order.keep:
                self._say(f"kept: {', '.join(what for what, _ in self._undo)}")
            else:
                left = self._remove()
        if left:
            raise TrialError(f"not removed, and for you to remove: {', '.join(left)}")
        return report

    def _run(self) -> Report:
        name, call = self._order.name, self._account.call
        partition = call("sts", "get_caller_identity")["Arn"].split(":")[1]
        outputs = self._deploy()
        call("logs", "create_log_group", logGroupName=name)
        self._made(f"log group {name}", lambda: call("logs", "delete_log_group", logGroupName=name))
        call("logs", "put_retention_policy", logGroupName=name, retentionInDays=1)
        managed = f"arn:{partition}:iam::aws:policy/{_EXECUTION_POLICY}"
        place = Place(
            name,
            self._order.region,
            self._order.image,
            outputs["ApiUrl"],
            outputs["FeedTableName"],
            self._role(f"{name}-execution", managed),
            self._role(f"{name}-task", outputs["SidecarPolicyArn"]),
        )
        of_orders = [definitions.orders_definition(place, version) for version in ("1", "2")]
        of_caller = definitions.caller_definition(place)
        definitions.check([*of_orders, of_caller])
        group = self._security_group()
        call("ecs", "create_cluster", clusterName=name)
        self._made(f"cluster {name}", lambda: self._delete_when_free("cluster", "ecs", "delete_cluster", cluster=name))
        self._service("orders", self._register(of_orders[0]), 2, group)
        self._service("caller", self._register(of_caller), 1, group)
        self._until("the caller has called", LOG_SECONDS, lambda: self._tally().sent >= WARM_REQUESTS)
        return self._replace(self._register(of_orders[1]))

    def _replace(self, definition: str) -> Report:
        before, began = self._tally(), self._account.now()
        self._say("the tasks of orders are replaced under load")
        self._account.call(
            "ecs", "update_service", cluster=self._order.name, service="orders", taskDefinition=definition
        )
        self._until("the deployment is complete", STABLE_SECONDS, lambda: self._is_stable("orders"))
        seconds = self._account.now() - began
        self._account.sleep(SETTLE_SECONDS)
        return Report(before, self._tally(), seconds)

    def _deploy(self) -> dict[str, str]:
        """Make the stack and return its outputs."""
        name, region = self._order.name, self._order.region
        try:
            self._account.call("cloudformation", "describe_stacks", StackName=name)
        except TrialError as error:
            if error.code != "ValidationError":  # AWS's for a stack that does not exist
                raise
        else:
            raise TrialError(f"there is a stack {name} already: choose another --name, or remove it first")
        self._account.command(["sam", "validate", "--lint", "--region", region])
        self._account.command(["sam", "build"])
        self._made(f"stack {name}", self._delete_stack)
        self._account.command(
            [
                *("sam", "deploy", "--stack-name", name, "--region", region, "--no-confirm-changeset"),
                *("--parameter-overrides", f"Mesh={name}", f"Clusters={name}", "LogRetentionDays=1"),
            ]
        )
        (stack,) = self._account.call("cloudformation", "describe_stacks", StackName=name)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    def _role(self, name: str, policy: str) -> str:
        call = self._account.call
        arn: str = call("iam", "create_role", RoleName=name, AssumeRolePolicyDocument=_TRUST)["Role"]["Arn"]
        self._made(f"role {name}", lambda: call("iam", "delete_role", RoleName=name))
        call("iam", "attach_role_policy", RoleName=name, PolicyArn=policy)
        detach = lambda: call("iam", "detach_role_policy", RoleName=name, PolicyArn=policy)  # noqa: E731
        self._made(f"policy of role {name}", detach)
        return arn

    def _security_group(self) -> str:
        """Let the tasks reach each other's sidecars, and nobody else."""
        call = self._account.call
        (subnet, *_) = call("ec2", "describe_subnets", SubnetIds=list(self._order.subnets))["Subnets"]
        made = call(
            "ec2",
            "create_security_group",
            GroupName=self._order.name,
            Description="Trial of tramo: its tasks only",
            VpcId=subnet["VpcId"],
        )
        group: str = made["GroupId"]
        self._made(
            f"security group {group}",
            lambda: self._delete_when_free("security group", "ec2", "delete_security_group", GroupId=group),
        )
        first, last = INGRESS_PORTS
        rule = {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, "UserIdGroupPairs": [{"GroupId": group}]}
        call("ec2", "authorize_security_group_ingress", GroupId=group, IpPermissions=[rule])
        return group

    def _register(self, document: dict[str, Any]) -> str:
        found = self._account.call("ecs", "register_task_definition", **document)["taskDefinition"]
        arn: str = found["taskDefinitionArn"]
        self._made(
            f"task definition {arn.rpartition('/')[2]}",
            lambda: self._account.call("ecs", "deregister_task_definition", taskDefinition=arn),
        )
        return arn

    def _service(self, service: str, definition: str, count: int, group: str) -> None:
        self._account.call(
            "ecs",
            "create_service",
            cluster=self._order.name,
            serviceName=service,
            taskDefinition=definition,
            desiredCount=count,
            launchType="FARGATE",
            deploymentConfiguration={
                "minimumHealthyPercent": 100,
                "maximumPercent": 200,
                "deploymentCircuitBreaker": {"enable": True, "rollback": False},
            },
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": list(self._order.subnets),
                    "securityGroups": [group],
                    "assignPublicIp": "ENABLED" if self._order.is_public else "DISABLED",
                }
            },
        )
        self._made(f"service {service}", lambda: self._delete_service(service))
        self._until(f"{service} runs", STABLE_SECONDS, lambda: self._is_stable(service))

    def _is_stable(self, service: str) -> bool:
        answer = self._account.call("ecs", "describe_services", cluster=self._order.name, services=[service])
        (found,) = answer["services"]
        older = [each for each in found["deployments"] if each["status"] != "PRIMARY"]
        (newest,) = (each for each in found["deployments"] if each["status"] == "PRIMARY")
        if newest.get("rolloutState") == "FAILED":
            raise TrialError(
                f"tasks of {service} do not start: {newest.get('rolloutStateReason', 'ECS says no reason')}"
            )
        return not older and newest.get("rolloutState") == "COMPLETED"

    def _tally(self) -> Tally:
        """Return what the caller's newest log line says."""
        found = self._account.call(
            "logs",
            "describe_log_streams",
            logGroupName=self._order.name,
            logStreamNamePrefix="caller/caller/",
            limit=1,
        )["logStreams"]
        if not found:
            return Tally()
        answer = self._account.call(
            "logs",
            "get_log_events",
            logGroupName=self._order.name,
            logStreamName=found[0]["logStreamName"],
            limit=MOST_LINES,
            startFromHead=False,
        )
        return tally.newest(each["message"] for each in answer["events"])

    def _until(self, what: str, seconds: float, is_so: Callable[[], bool]) -> None:
        self._say(f"waiting until {what}, at most {seconds / 60:.0f} minutes")
        ends_at = min(self._account.now() + seconds, self._ends_at)
        while not is_so():
            if self._account.now() >= ends_at:
                raise TrialError(f"gave up waiting until {what}")
            self._account.sleep(EVERY_SECONDS)

    def _made(self, what: str, undo: Callable[[], object]) -> None:
        self._undo.append((what, undo))

    def _remove(self) -> list[str]:
        """Remove what was made, last first; return what could not be removed."""
        self._ends_at = self._account.now() + REMOVAL_SECONDS
        left = []
        while self._undo:
            what, undo = self._undo.pop()
            self._say(f"removing {what}")
            try:
                undo()
            except TrialError as error:
                self._say(f"not removed, and for you to remove: {what}: {error}")
                left.append(what)
        return left

    def _delete_service(self, service: str) -> None:
        cluster = self._order.name
        self._account.call("ecs", "delete_service", cluster=cluster, service=service, force=True)

        def is_gone() -> bool:
            return not self._account.call("ecs", "list_tasks", cluster=cluster, family=f"{cluster}-{service}")[
                "taskArns"
            ]

        self._until(f"the tasks of {service} have stopped", STABLE_SECONDS, is_gone)

    def _delete_when_free(self, what: str, service: str, operation: str, **parameters: Any) -> None:
        """Delete what tasks use until their network interfaces are gone, which is a while after the tasks."""

        def is_deleted() -> bool:
            try:
                self._account.call(service, operation, **parameters)
            except TrialError as error:
                if error.code not in _IN_USE:
                    raise
                return False
            return True

        self._until(f"the {what} can be deleted", STABLE_SECONDS, is_deleted)

    def _delete_stack(self) -> None:
        """Delete the stack, and what a stack keeps on purpose when it is deleted."""
        name, call = self._order.name, self._account.call
        found = call("cloudformation", "list_stack_resources", StackName=name)["StackResourceSummaries"]
        self._account.command(["sam", "delete", "--stack-name", name, "--region", self._order.region, "--no-prompts"])
        kept: dict[str, Callable[[str], object]] = {
            "AWS::DynamoDB::Table": lambda table: call("dynamodb", "delete_table", TableName=table),
            "AWS::Logs::LogGroup": lambda group: call("logs", "delete_log_group", logGroupName=group),
            "AWS::S3::Bucket": self._delete_bucket,
        }
        for kind, delete in kept.items():
            for each in _names(found, kind):
                try:
                    delete(each)
                except TrialError as error:
                    if error.code not in ("ResourceNotFoundException", "NoSuchBucket"):  # the stack has taken it along
                        raise

    def _delete_bucket(self, bucket: str) -> None:
        for _ in range(MOST_PAGES):
            page = self._account.call("s3", "list_objects_v2", Bucket=bucket).get("Contents", [])
            if not page:
                self._account.call("s3", "delete_bucket", Bucket=bucket)
                return
            keys = [{"Key": each["Key"]} for each in page]
            self._account.call("s3", "delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        raise TrialError(f"bucket {bucket} still has objects after {MOST_PAGES} pages of them")

    def _say(self, text: str) -> None:
        self._out.write(f"# {text}\n")
        self._out.flush()


def _names(resources: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Return the physical names of resources of a type that exist."""
    found = (each for each in resources if each["ResourceType"] == kind)
    return [each["PhysicalResourceId"] for each in found if each.get("PhysicalResourceId")]
