"""The trial in an account: rehearsed, with calls that fail, and without an end."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from infra.cli.main import main
from infra.local.settings import REPOSITORY
from infra.trial import definitions, price, tally
from infra.trial.account import Rehearsal, TrialError
from infra.trial.apps import caller, orders
from infra.trial.definitions import Place
from infra.trial.rehearsal import GoodDay
from infra.trial.tally import Report, Tally
from infra.trial.trial import MOST_SECONDS, REMOVAL_SECONDS, Order, Trial

ORDER = Order("tramo-trial", "eu-west-1", "example/sidecar:1", ("subnet-0a1", "subnet-0b2"))
PLACE = Place("tramo-trial", "eu-west-1", "example/sidecar:1", "https://x.example/live", "feed", "arn:e", "arn:t")

UNDONE_BY = {
    "create_log_group": "delete_log_group",
    "create_role": "delete_role",
    "attach_role_policy": "detach_role_policy",
    "create_security_group": "delete_security_group",
    "create_cluster": "delete_cluster",
    "register_task_definition": "deregister_task_definition",
    "create_service": "delete_service",
    "deploy": "delete",  # sam's
}
KEPT_BY_A_STACK = {"delete_log_group": 1, "delete_table": 1, "delete_bucket": 1}


class Day:
    """A good day on which the call with this number fails, or an operation answers otherwise."""

    def __init__(self, fails: int | None = None, **answers: Any) -> None:
        self._good = GoodDay(ORDER.name, ORDER.region)
        self._fails = fails
        self._answers = answers
        self.done: list[str] = []
        self.asked: list[str] = []

    def __call__(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(operation)
        if len(self.asked) - 1 == self._fails:
            raise TrialError(f"{operation}: AWS is away", "ServiceUnavailable")
        found: dict[str, Any] = (
            self._answers[operation] if operation in self._answers else self._good(operation, parameters)
        )
        self.done.append(operation)
        return found


def tried(day: Day, order: Order = ORDER) -> Report:
    return Trial(order, Rehearsal(order.region, day, io.StringIO()), io.StringIO()).run()


def test_the_rehearsal_writes_every_call_and_asks_nothing_of_aws(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--image", "example/sidecar:1", "--subnets", "subnet-0a1,subnet-0b2", "--region", "eu-west-1"]
    assert main(["aws-trial", *arguments, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("# at most 0.")
    calls = [line for line in lines if line.startswith("$ ")]
    for word in ("sam deploy", "ecs create-service", "ecs update-service", "logs get-log-events", "sam delete"):
        assert [line for line in calls if word in line], word
    (deploy,) = [line for line in calls if "sam deploy" in line]
    assert "Mesh=tramo-trial Clusters=tramo-trial" in deploy, "no task of another stack is touched"


def test_without_consent_nothing_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--image", "i", "--subnets", "s", "--region", "eu-west-1"]
    assert main(["aws-trial", *arguments]) == 1
    assert "--yes does it" in capsys.readouterr().err
    assert main(["aws-trial", *arguments, "--name", "No Name", "--dry-run"]) == 1
    assert "--name No Name" in capsys.readouterr().err


def test_on_a_good_day_no_request_fails_and_nothing_is_left() -> None:
    day = Day()
    report = tried(day)
    assert report.has_passed
    assert report.after.tasks("2")
    assert left(day) == {}
    assert day.done[-1] == "delete_bucket"


def test_whatever_call_fails_all_that_was_made_is_removed() -> None:
    calls = Day()
    tried(calls)
    first_removal = calls.asked.index("deregister_task_definition")
    for number in range(first_removal):
        day = Day(number)
        with pytest.raises(TrialError, match="AWS is away"):
            tried(day)
        assert left(day) == {}, f"call {number}, {calls.asked[number]}"


def left(day: Day) -> dict[str, int]:
    """Return what was made more often than removed, by what makes it; what the stack keeps counts as removed once."""
    found = {}
    stack = "deploy" in day.done
    for make, undo in UNDONE_BY.items():
        removed = day.done.count(undo) - (KEPT_BY_A_STACK.get(undo, 0) if stack or "delete" in day.done else 0)
        if day.done.count(make) > removed:
            found[make] = day.done.count(make) - removed
    return found


def test_what_cannot_be_removed_is_named_and_the_rest_is_removed() -> None:
    calls = Day()
    tried(calls)
    day = Day(calls.asked.index("delete_role"))
    with pytest.raises(TrialError, match="for you to remove: role tramo-trial-task"):
        tried(day)
    assert left(day) == {"create_role": 1}


def test_a_name_that_a_stack_has_is_refused_and_nothing_is_removed() -> None:
    day = Day(describe_stacks={"Stacks": [{"Outputs": []}]})
    with pytest.raises(TrialError, match="there is a stack tramo-trial already"):
        tried(day)
    assert day.done == ["get_caller_identity", "describe_stacks"]


def test_every_wait_has_an_end() -> None:
    pending = {"services": [{"deployments": [{"status": "PRIMARY", "rolloutState": "IN_PROGRESS"}]}]}
    day = Day(describe_services=pending, list_tasks={"taskArns": ["arn:1"]})
    account = Rehearsal(ORDER.region, day, io.StringIO())
    with pytest.raises(TrialError, match="gave up waiting until orders runs"):
        Trial(ORDER, account, io.StringIO()).run()
    assert account.now() < MOST_SECONDS + REMOVAL_SECONDS
    assert "delete_cluster" in day.done


def test_tasks_that_do_not_start_end_the_trial_with_the_reason_of_ecs() -> None:
    failed = {"status": "PRIMARY", "rolloutState": "FAILED", "rolloutStateReason": "CannotPullContainerError"}
    with pytest.raises(TrialError, match="CannotPullContainerError"):
        tried(Day(describe_services={"services": [{"deployments": [failed]}]}))


def test_kept_things_stay() -> None:
    day = Day()
    tried(day, Order("tramo-trial", "eu-west-1", "i", ("subnet-0a1",), keep=True))
    assert not [each for each in day.done if each.startswith("delete")]


def test_the_definitions_are_judged_before_anything_starts() -> None:
    good = definitions.orders_definition(PLACE, "1")
    definitions.check([good, definitions.caller_definition(PLACE)])
    sidecar = next(each for each in good["containerDefinitions"] if each["name"] == "sidecar")
    sidecar["environment"].append({"name": "TRAMO_MESH", "value": "another"})
    with pytest.raises(TrialError, match="TRM0109 taskdef/tramo-trial-orders"):
        definitions.check([good])


def test_a_call_that_aws_would_refuse_is_refused_in_the_rehearsal() -> None:
    account = Rehearsal("eu-west-1", Day(), io.StringIO())
    with pytest.raises(Exception, match="Missing required parameter"):
        account.call("ecs", "create_service", cluster="a")
    with pytest.raises(TrialError, match="no operation"):
        account.call("ecs", "make_service")


def test_the_caller_and_orders_speak_with_each_other() -> None:
    orders.Handler.content = b'{"task": "0a1", "version": "1"}'
    with ThreadingHTTPServer(("127.0.0.1", 0), orders.Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert caller.call(("127.0.0.1", server.server_port)) == {"task": "0a1", "version": "1"}
        finally:
            server.shutdown()
            thread.join()


LINE = {"sent": 9, "failed": 1, "answers": {"0a1": {"version": "1", "count": 8}}, "errors": ["refused"]}


def test_the_newest_line_of_the_caller_counts_whatever_stands_around_it() -> None:
    found = tally.newest(["no JSON", json.dumps({**LINE, "sent": 4}), json.dumps(LINE), "[]", "{}"])
    assert found == Tally(9, 1, {("1", "0a1"): 8}, ("refused",))
    assert tally.newest([]) == Tally()


@pytest.mark.parametrize(
    ("after", "passed"),
    [
        (Tally(200, 1, {("1", "0a1"): 90, ("2", "0b2"): 109}), True),
        (Tally(200, 2, {("1", "0a1"): 90, ("2", "0b2"): 108}, ("1.0 ConnectionRefusedError",)), False),
        (Tally(200, 1, {("1", "0a1"): 199}), False),
    ],
)
def test_a_trial_passes_if_no_request_failed_meanwhile_and_the_new_tasks_answered(after: Tally, passed: bool) -> None:
    report = Report(Tally(100, 1, {("1", "0a1"): 99}), after, 90.0)
    assert report.has_passed is passed
    assert ("passed" in report.text()) is passed
    assert ("ConnectionRefusedError" in report.text()) is (report.failed > 0)


def test_the_docs_say_the_price() -> None:
    most = price.dollars(MOST_SECONDS + REMOVAL_SECONDS)
    page = (REPOSITORY / "docs" / "aws.md").read_text(encoding="utf-8")
    assert re.search(rf"at most {most:.2f} dollars", page)
