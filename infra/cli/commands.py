"""The commands of a local cluster, and those around the mesh: their arguments. Those of operators are in `operators`.

A command is a function of a module, by its name; `lazy` imports it when it runs.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from infra.cli import aws_trial
from infra.cli.arguments import (
    WIDE,
    Commands,
    api_url,
    count,
    http_url,
    mesh_options,
    minutes,
    output,
    port,
    positive,
    seconds,
    user_id,
    watch,
)
from infra.cli.lazy import Run, from_checkout, lazily


def add(commands: Commands) -> None:
    """Add those of a local cluster, and those around the mesh."""
    command = partial(_command, commands)
    made = command("up", from_checkout("up"), "run ECS on this machine with the services of a folder", forms=())
    made.add_argument("directory", type=Path, metavar="DIR", help="folder with services.json and task definitions")
    made.add_argument(
        "--names",
        choices=("auto", "hosts", "proxy"),
        default="auto",
        help="how apps find services: a hosts file per task, HTTP_PROXY, or the first of them that works here",
    )
    command("down", lazily("cluster", "down"), "stop the local cluster and everything in it", forms=())
    made = command(
        "status",
        lazily("cluster", "status"),
        "show the local cluster and the events that its functions failed to handle",
    )
    watch(made)
    text = "list the services of the mesh and the refused claims to their names"
    made = command("services", lazily("services"), text, forms=WIDE)
    mesh_options(made)
    watch(made)
    actions = made.add_subparsers(metavar="ACTION")
    allow = actions.add_parser("allow", help="let another ECS service or task role offer a service")
    allow.add_argument("name", metavar="NAME", help="discovery name of the service")
    allow.add_argument("claimant", metavar="CLAIMANT", help="as the list shows it: ARN of an ECS service or task role")
    allow.set_defaults(run=lazily("services", "run_allow"), watch=False)
    forget = actions.add_parser("forget", help="free the name of one that has no tasks, with its owners and policy")
    forget.add_argument("name", metavar="NAME", help="discovery name of the service")
    forget.set_defaults(run=lazily("services", "run_forget"), watch=False)
    made = command("endpoints", lazily("services", "run_endpoints"), "list the endpoints of a service", forms=WIDE)
    made.add_argument("name", metavar="NAME", help="discovery name of the service")
    mesh_options(made)
    watch(made)
    made = command("tasks", lazily("cluster", "tasks"), "list the tasks of the local cluster")
    made.add_argument("-a", "--all", action="store_true", help="also tasks that stopped within the last hour")
    watch(made)
    made = command("scale", lazily("cluster", "scale"), "set the number of tasks of a service")
    made.add_argument("service", metavar="SERVICE")
    made.add_argument("count", type=count, metavar="N")
    _waiting(made)
    made = command(
        "deploy",
        lazily("cluster", "deploy"),
        "replace the tasks of a service, with another task definition or the same",
    )
    made.add_argument("service", metavar="SERVICE")
    made.add_argument(
        "--task-definition", metavar="FILE", help="JSON to register as the next revision, or family:revision"
    )
    _waiting(made)
    made = command("run", lazily("cluster", "run"), "start a task that belongs to no service")
    made.add_argument("definition", metavar="TASKDEF", help="family, family:revision, or a JSON file to register")
    _waiting(made)
    made = command("stop", lazily("cluster", "stop"), "stop a task")
    made.add_argument("task", metavar="TASK", help="id of the task, or its beginning")
    _waiting(made)
    made = command("redrive", lazily("redrive"), "give dead letters back to the functions that failed to handle them")
    made.add_argument("--stack", metavar="NAME", help="the stack in AWS; without it the local cluster")
    made.add_argument("--region", metavar="REGION", help="region of the stack, default AWS's configuration")
    made.add_argument("--dry-run", action="store_true", help="only show what would be redriven")
    made.add_argument("--limit", type=positive, default=100, metavar="N", help="handle at most N letters, default 100")
    made = command(
        "console", lazily("console"), "show the mesh on a page: who calls whom, what fails and why", forms=()
    )
    made.add_argument("--stack", metavar="NAME", help="the stack in AWS; without it and --region the local cluster")
    made.add_argument("--region", metavar="REGION", help="region of the metrics, default AWS's configuration")
    made.add_argument("--service", default="", metavar="NAME", help="begin with the page of this service")
    made.add_argument(
        "--time",
        type=minutes,
        metavar="TIME",
        help="time range, such as 15m or 3h; default 1h in AWS, 10m locally",
    )
    made.add_argument("--port", type=port, default=9902, metavar="N", help="port of the page on 127.0.0.1 (9902)")
    made = command("cost", lazily("cost_table"), "estimate what a mesh costs in AWS per month")
    made.add_argument("--sidecars", type=positive, required=True, metavar="N", help="tasks with a sidecar")
    made.add_argument(
        "--feed",
        choices=("on-demand", "provisioned", "off"),
        default="on-demand",
        help="how the feed's table is paid for, default on-demand; off: sidecars poll the API",
    )
    made.add_argument(
        "--read", type=seconds, default=1.0, metavar="S", help="seconds between readings of the feed, default 1"
    )
    made.add_argument(
        "--poll", type=seconds, default=5.0, metavar="S", help="seconds between polls without the feed, default 5"
    )
    made.add_argument(
        "--changes-per-hour", type=count, default=100, metavar="C", help="tasks that start or stop, default 100"
    )
    made.add_argument("--services", type=count, default=100, metavar="N", help="services with metrics, default 100")
    made.add_argument("--called", type=count, default=2, metavar="N", help="services that each task calls, default 2")
    made.add_argument(
        "--metrics", choices=("cloudwatch", "emf", "off"), default="cloudwatch", help="the sidecars' TRAMO_METRICS"
    )
    made = command("inject", from_checkout("inject"), "add sidecar, gate and labels to a task definition", forms=())
    made.add_argument("definition", type=Path, metavar="TASKDEF.json", help="as register-task-definition takes it")
    made.add_argument(
        "--service-connect",
        type=Path,
        metavar="FILE",
        help="serviceConnectConfiguration, or a service with one; without it the label that the task definition has",
    )
    made.add_argument(
        "--image", default="", metavar="IMAGE", help="image of the sidecar; default what its container has"
    )
    made.add_argument(
        "--api-url",
        type=api_url,
        default=os.environ.get("TRAMO_API_URL") or None,
        metavar="URL",
        help="ApiUrl, an output of the stack (TRAMO_API_URL); default what the sidecar's container has",
    )
    made.add_argument(
        "--feed-table",
        default=os.environ.get("TRAMO_FEED_TABLE", ""),
        metavar="NAME",
        help="FeedTableName, an output of the stack (TRAMO_FEED_TABLE); default what the sidecar's container has",
    )
    made.add_argument(
        "--otlp-endpoint",
        type=http_url,
        metavar="URL",
        help="send traces and metrics to this OpenTelemetry collector, such as http://127.0.0.1:4318 in a container of "
        "the task; default what the sidecar's container has",
    )
    made.add_argument(
        "--redirect",
        action=argparse.BooleanOptionalAction,
        help="redirect mode: proxyConfiguration sends all calls to one listener, so apps may use any port; default "
        "what the task definition has",
    )
    made.add_argument(
        "--user",
        type=user_id,
        metavar="UID",
        help="user ID of the sidecar, or uid:gid; default what its container has, else 0; another than 0 cannot write "
        "the hosts file (docs/names.md)",
    )


def _waiting(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--wait", type=seconds, metavar="SECONDS", help="wait until it is done, and fail after so many seconds"
    )


def add_proofs(commands: Commands) -> None:
    """Add the commands that prove the mesh: in an AWS account, and on this machine."""
    text = "prove the mesh in your own AWS account: stack, two services, a deployment under load, a report"
    aws_trial.add(_command(commands, "aws-trial", aws_trial.run, text, forms=()))
    text = "run the shop through scaling, a crash, a deployment and an outage"
    _command(commands, "demo", from_checkout("demo"), text, forms=())


def _command(
    commands: Commands, name: str, run: Run, text: str, *, forms: tuple[str, ...] = ("table", "json")
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.set_defaults(run=run)
    if forms:
        output(made, forms)
    return made
