"""The `tramo` command: its arguments, and which function does what.

Exit codes: 0 done, 1 it could not be done (the reason is on standard error), 64 wrong usage;
`analyze` and `policy` have more (docs/operators.md).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from infra.cli import aws_trial, operators, tables
from infra.cli.control import ControlClient, NotUpError
from infra.cli.examples import add_examples
from infra.cli.tables import Row, show, show_rows
from infra.cli.traffic import columns
from infra.cli.watch import repeat
from infra.local.settings import LocalError, state_directory
from sidecar import __version__

if TYPE_CHECKING:
    from infra.cli.ecs import Ecs
    from infra.client.api import MeshApi

# What a command needs is imported when it runs: boto3 and moto take longer than most commands.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = make_parser().parse_args(arguments)
    try:
        return repeat(options.run, options)
    except LocalError as error:
        sys.stderr.write(f"tramo: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = operators.CommandParser(prog="tramo", description="An open service mesh for Amazon ECS.")
    parser.add_argument("--version", action="version", version=f"tramo {__version__}")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=None,
        metavar="DIR",
        help="where a local cluster keeps its files (TRAMO_STATE_DIR, else one folder per user)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        text: str,
        *,
        forms: tuple[str, ...] = ("table", "json"),
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        if forms:
            operators.output(made, forms)
        return made

    def waiting(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--wait", type=_seconds, metavar="SECONDS", help="wait until it is done, and fail after so many seconds"
        )

    made = command("up", _up, "run ECS on this machine with the services of a folder", forms=())
    made.add_argument("directory", type=Path, metavar="DIR", help="folder with services.json and task definitions")
    made.add_argument(
        "--names",
        choices=("auto", "hosts", "proxy"),
        default="auto",
        help="how apps find services: a hosts file per task, HTTP_PROXY, or the first of them that works here",
    )
    command("down", _down, "stop the local cluster and everything in it", forms=())
    made = command("status", _status, "show the local cluster and the events that its functions failed to handle")
    operators.watch(made)
    text = "list the services of the mesh and the refused claims to their names"
    made = command("services", _services, text, forms=operators.WIDE)
    operators.mesh_options(made)
    operators.watch(made)
    actions = made.add_subparsers(metavar="ACTION")
    allow = actions.add_parser("allow", help="let another ECS service or task role offer a service")
    allow.add_argument("name", metavar="NAME", help="discovery name of the service")
    allow.add_argument("claimant", metavar="CLAIMANT", help="as the list shows it: ARN of an ECS service or task role")
    allow.set_defaults(run=_allow, watch=False)
    forget = actions.add_parser("forget", help="free the name of one that has no tasks, with its owners and policy")
    forget.add_argument("name", metavar="NAME", help="discovery name of the service")
    forget.set_defaults(run=_forget, watch=False)
    made = command("endpoints", _endpoints, "list the endpoints of a service", forms=operators.WIDE)
    made.add_argument("name", metavar="NAME", help="discovery name of the service")
    operators.mesh_options(made)
    operators.watch(made)
    made = command("tasks", _tasks, "list the tasks of the local cluster")
    made.add_argument("-a", "--all", action="store_true", help="also tasks that stopped within the last hour")
    operators.watch(made)
    made = command("scale", _scale, "set the number of tasks of a service")
    made.add_argument("service", metavar="SERVICE")
    made.add_argument("count", type=_count, metavar="N")
    waiting(made)
    made = command("deploy", _deploy, "replace the tasks of a service, with another task definition or the same")
    made.add_argument("service", metavar="SERVICE")
    made.add_argument(
        "--task-definition", metavar="FILE", help="JSON to register as the next revision, or family:revision"
    )
    waiting(made)
    made = command("run", _run, "start a task that belongs to no service")
    made.add_argument("definition", metavar="TASKDEF", help="family, family:revision, or a JSON file to register")
    waiting(made)
    made = command("stop", _stop, "stop a task")
    made.add_argument("task", metavar="TASK", help="id of the task, or its beginning")
    waiting(made)
    made = command("redrive", _redrive, "give dead letters back to the functions that failed to handle them")
    made.add_argument("--stack", metavar="NAME", help="the stack in AWS; without it the local cluster")
    made.add_argument("--region", metavar="REGION", help="region of the stack, default AWS's configuration")
    made.add_argument("--dry-run", action="store_true", help="only show what would be redriven")
    made.add_argument("--limit", type=_some, default=100, metavar="N", help="handle at most N letters, default 100")
    made = command("console", _console, "show the mesh on a page: who calls whom, what fails and why", forms=())
    made.add_argument("--stack", metavar="NAME", help="the stack in AWS; without it and --region the local cluster")
    made.add_argument("--region", metavar="REGION", help="region of the metrics, default AWS's configuration")
    made.add_argument("--service", default="", metavar="NAME", help="begin with the page of this service")
    made.add_argument(
        "--time",
        type=_minutes,
        metavar="TIME",
        help="time range, such as 15m or 3h; default 1h in AWS, 10m locally",
    )
    made.add_argument("--port", type=_port, default=9902, metavar="N", help="port of the page on 127.0.0.1 (9902)")
    made = command("cost", _cost, "estimate what a mesh costs in AWS per month")
    made.add_argument("--sidecars", type=_some, required=True, metavar="N", help="tasks with a sidecar")
    made.add_argument(
        "--feed",
        choices=("on-demand", "provisioned", "off"),
        default="on-demand",
        help="how the feed's table is paid for, default on-demand; off: sidecars poll the API",
    )
    made.add_argument(
        "--read", type=_seconds, default=1.0, metavar="S", help="seconds between readings of the feed, default 1"
    )
    made.add_argument(
        "--poll", type=_seconds, default=5.0, metavar="S", help="seconds between polls without the feed, default 5"
    )
    made.add_argument(
        "--changes-per-hour", type=_count, default=100, metavar="C", help="tasks that start or stop, default 100"
    )
    made.add_argument("--services", type=_count, default=100, metavar="N", help="services with metrics, default 100")
    made.add_argument("--called", type=_count, default=2, metavar="N", help="services that each task calls, default 2")
    made.add_argument(
        "--metrics", choices=("cloudwatch", "emf", "off"), default="cloudwatch", help="the sidecars' TRAMO_METRICS"
    )
    made = command("inject", _inject, "add sidecar, gate and labels to a task definition", forms=())
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
        default=os.environ.get("TRAMO_API_URL", ""),
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
        type=_http_url,
        metavar="URL",
        help="send traces and metrics to this OpenTelemetry collector, such as http://127.0.0.1:4318 in a container of "
        "the task; default what the sidecar's container has",
    )
    made.add_argument(
        "--redirect",
        action="store_true",
        help="redirect mode: proxyConfiguration sends all calls to one listener, so apps may use any port",
    )
    made.add_argument(
        "--user",
        default="0",
        metavar="UID",
        help="user ID of the sidecar, default 0; another cannot write the hosts file (docs/names.md)",
    )
    operators.add(commands, parser)
    text = "prove the mesh in your own AWS account: stack, two services, a deployment under load, a report"
    aws_trial.add(command("aws-trial", aws_trial.run, text, forms=()))
    command("demo", _demo, "run the shop through scaling, a crash, a deployment and an outage", forms=())
    add_examples(commands.choices)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return int(text)


def _port(text: str) -> int:
    port = _count(text)
    if port > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return port


def _some(text: str) -> int:
    count = _count(text)
    if not count:
        raise argparse.ArgumentTypeError("there must be at least one")
    return count


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _minutes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,4})([mh]?)", text)
    minutes = int(match[1]) * (60 if match[2] == "h" else 1) if match is not None else 0
    if not 1 <= minutes <= 720:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 15m or 3h, at most 12h")
    return minutes


def _http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as http://127.0.0.1:4318")
    return text


def _state_directory(options: argparse.Namespace) -> Path:
    chosen: Path | None = options.state_dir
    return state_directory() if chosen is None else chosen.absolute()


def _control(options: argparse.Namespace) -> ControlClient:
    return ControlClient(_state_directory(options) / "control.sock")


def _up(options: argparse.Namespace) -> None:
    with _development():
        from infra.cli.up import up

    up(options.directory, _state_directory(options), options.names)


def _demo(options: argparse.Namespace) -> int:
    with _development():
        from infra.cli.demo import demo

    return demo()


@contextmanager
def _development() -> Iterator[None]:
    """Say what to do when the packages are missing that only a checkout of the project has."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"this runs in a checkout of the project after make setup ({error.name} is not installed)"
        raise LocalError(message) from error


def _down(options: argparse.Namespace) -> None:
    control = _control(options)
    try:
        control.call("POST", "/down")
    except NotUpError:
        sys.stderr.write(f"tramo: no cluster is up in {_state_directory(options)}\n")
        return
    deadline = time.monotonic() + 60
    while control.is_up():
        if time.monotonic() > deadline:
            raise LocalError("the cluster is still stopping after 60 s; Ctrl-C in its terminal ends it at once")
        time.sleep(0.1)


def _status(options: argparse.Namespace) -> None:
    status = _control(options).status()
    row = {
        "cluster": status["cluster"],
        "services": f"{status['services']['steady']}/{status['services']['all']} steady",
        "tasks": f"{status['tasks']['running']}/{status['tasks']['all']} running",
        "events": status["events"],
        "dead_letter_count": len(status["dead_letters"]),
        "api": status["api"]["url"] + (" (away)" if status["api"]["away"] else ""),
        "ecs": status["ecs"],
        "aws": status["aws"],
    }
    letters = [
        {**letter, "time": datetime.fromtimestamp(letter["time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        for letter in status["dead_letters"]
    ]
    failing = status["failing"]
    if options.output == "json":
        show(sys.stdout, "json", tables.STATUS, [{**row, "failing": failing, "dead_letters": letters}])
        return
    show(sys.stdout, "table", tables.STATUS, [row])
    if failing:
        sys.stdout.write("\n")
        show(sys.stdout, "table", tables.FAILING, failing)
    if letters:
        sys.stdout.write("\n")
        show(sys.stdout, "table", tables.DEAD_LETTERS, letters)


def _services(options: argparse.Namespace) -> None:
    from infra.cli.services import list_services, refused_claims

    rows = list_services(*_mesh(options))
    show_rows(sys.stdout, options.output, columns(options.output, tables.SERVICES, tables.SERVICES_WIDE), rows)
    if options.output != "json":
        sys.stdout.write("".join(f"\n{line}\n" for line in refused_claims(rows)))


def _allow(options: argparse.Namespace) -> None:
    from infra.cli.services import allow

    show(sys.stdout, options.output, tables.OWNERS, allow(*_mesh(options), options.name, options.claimant))


def _forget(options: argparse.Namespace) -> None:
    from infra.cli.services import forget

    show(sys.stdout, options.output, tables.OWNERS, forget(*_mesh(options), options.name))


def _endpoints(options: argparse.Namespace) -> None:
    from infra.cli.services import list_endpoints

    api, namespaces = _mesh(options)
    shown = columns(options.output, tables.ENDPOINTS, tables.ENDPOINTS_WIDE)
    show_rows(sys.stdout, options.output, shown, list_endpoints(api, namespaces, options.name))


def _mesh(options: argparse.Namespace) -> tuple[MeshApi, list[str]]:
    from infra.cli.mesh import open_mesh

    mesh = open_mesh(options)
    return mesh.api, mesh.namespaces()


def _tasks(options: argparse.Namespace) -> None:
    show(sys.stdout, options.output, tables.TASKS, _ecs(options).tasks(stopped=options.all))


def _ecs(options: argparse.Namespace) -> Ecs:
    from infra.cli.ecs import Ecs

    return Ecs(_control(options).status(), _state_directory(options))


def _scale(options: argparse.Namespace) -> None:
    ecs = _ecs(options)
    _show_rollout(options, ecs, ecs.scale(options.service, options.count))


def _deploy(options: argparse.Namespace) -> None:
    ecs = _ecs(options)
    definition = options.task_definition
    _show_rollout(options, ecs, ecs.deploy(options.service, _file_or_name(definition) if definition else None))


def _show_rollout(options: argparse.Namespace, ecs: Ecs, row: Row) -> None:
    if options.wait:
        row = ecs.wait_for_rollout(row, options.wait)
    show(sys.stdout, options.output, tables.SCALED, [row])


def _run(options: argparse.Namespace) -> None:
    ecs = _ecs(options)
    row = ecs.run(_file_or_name(options.definition))
    if options.wait:
        row = ecs.wait_for_run(row["task"], options.wait)
    show(sys.stdout, options.output, tables.TASKS, [row])


def _stop(options: argparse.Namespace) -> None:
    from infra.cli.ecs import until

    ecs = _ecs(options)
    row = ecs.stop(options.task)
    if options.wait:
        row = until(lambda: ecs.task(row["task"]), lambda r: r["status"] == "STOPPED", options.wait)
    show(sys.stdout, options.output, tables.TASKS, [row])


def _redrive(options: argparse.Namespace) -> int:
    from infra.cli import redrive

    if options.stack:
        rows = redrive.redrive_stack(options.stack, options.region, options.limit, options.dry_run)
    elif options.dry_run:
        rows = redrive.rows_of(_control(options).status()["dead_letters"][: options.limit])
    else:
        rows = redrive.rows_of(_control(options).call("POST", f"/redrive/{options.limit}")["letters"])
    show(sys.stdout, options.output, tables.REDRIVEN, rows)
    return int(any(row["outcome"] in (redrive.Outcome.FAILED, redrive.Outcome.UNKNOWN) for row in rows))


def _console(options: argparse.Namespace) -> None:
    from infra.cli import console

    in_aws = options.stack or options.region
    made = (
        console.aws_console(options.stack, options.region)
        if in_aws
        else console.local_console(_control(options).status())
    )
    minutes = options.time or (console.AWS_MINUTES if in_aws else console.LOCAL_MINUTES)
    console.serve(made, options.port, minutes, f"/services/{quote(options.service)}" if options.service else "/")


def _cost(options: argparse.Namespace) -> None:
    from infra import cost
    from infra.cli import cost_table

    use = cost.Use(
        options.sidecars,
        options.poll,
        options.changes_per_hour,
        options.services,
        options.metrics,
        options.feed,
        options.read,
        options.called,
    )
    show(sys.stdout, options.output, cost_table.COLUMNS, cost_table.rows(use))
    if options.output == "table":
        sys.stdout.write("\n")
        tables.paragraph(sys.stdout, cost_table.NOTE)


def _inject(options: argparse.Namespace) -> None:
    with _development():
        from infra.cli.inject import inject_file

        inject_file(
            options.definition,
            options.service_connect,
            sys.stdout,
            sys.stderr,
            image=options.image,
            api_url=options.api_url,
            redirect=options.redirect,
            user=options.user,
            feed_table=options.feed_table,
            otlp_endpoint=options.otlp_endpoint or "",
        )


def _file_or_name(text: str) -> Path | str:
    return Path(text) if text.endswith(".json") else text


if __name__ == "__main__":
    sys.exit(main())
