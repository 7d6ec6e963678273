"""Each way to break a task that looked green once: tasks run, and what is wrong stood in a log or nowhere."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.test_up import SHOP, Up, up
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

Document = dict[str, Any]
LABEL = "tramo.service-connect"

LONGEST = 75
"""Seconds to the last finding. Four times as long is left to a busy machine, and that ends before pytest's time-out."""


def container(document: Document, label: str) -> Document:
    found: Document = next(each for each in document["containerDefinitions"] if label in each.get("dockerLabels", {}))
    return found


def configured(change: Callable[[Document], object]) -> Callable[[Document], object]:
    """A change of the label's JSON."""

    def apply(document: Document) -> None:
        labels = container(document, LABEL)["dockerLabels"]
        configuration = json.loads(labels[LABEL])
        change(configuration)
        labels[LABEL] = json.dumps(configuration)

    return apply


def variable(name: str, value: str) -> Callable[[Document], object]:
    """A variable of the sidecar."""

    def apply(document: Document) -> None:
        environment = container(document, "tramo.sidecar")["environment"]
        environment[:] = [each for each in environment if each["name"] != name] + [{"name": name, "value": value}]

    return apply


def misspelled_label(document: Document) -> None:
    labels = container(document, LABEL)["dockerLabels"]
    labels["tramo.service-conect"] = labels.pop(LABEL)


def broken_label(document: Document) -> None:
    container(document, LABEL)["dockerLabels"][LABEL] = "{namespace: shop.local}"


def no_sidecar(document: Document) -> None:
    document["containerDefinitions"] = [each for each in document["containerDefinitions"] if each["name"] == "app"]
    for each in document["containerDefinitions"]:
        each.pop("dependsOn", None)
        each.setdefault("dockerLabels", {})[LABEL] = json.dumps(
            {"namespace": "shop.local", "services": [{"portName": "broken", "clientAliases": [{"port": 81}]}]}
        )


def app(*command: str) -> Callable[[Document], object]:
    """Another program in the app's container."""

    def apply(document: Document) -> None:
        next(each for each in document["containerDefinitions"] if each["name"] == "app")["command"] = list(command)

    return apply


FAILING = """
import threading, time, urllib.request
from apps.shop import Server
def call_itself():
    while True:
        try:
            urllib.request.urlopen("http://{name}/", timeout=5)
        except OSError:
            pass
        time.sleep(0.5)
threading.Thread(target=call_itself, daemon=True).start()
Server(8080, lambda path: (500, {{}})).run()
"""


def failing_app(document: Document) -> None:
    """An app that answers 500 to everything, its own calls included: a caller of its own would be one more task."""
    app("python", "-c", FAILING.format(name=document["family"]))(document)


SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")

WAYS: dict[str, tuple[Callable[[Document], object], str, str]] = {
    "label key": (misspelled_label, "TRM0102", "did you mean tramo.service-connect?"),
    "label not JSON": (broken_label, "TRM0101", "it is not JSON"),
    "port name": (configured(lambda each: each["services"][0].update(portName="nope")), "TRM0101", "no port mapping"),
    "key in label": (configured(lambda each: each["services"][0].update(clientAlias=[])), "TRM0102", "clientAliases"),
    "inbound": (variable("TRAMO_INBOUND", "other=15100:8099/http"), "TRM0302", "TRAMO_INBOUND"),
    "app does not listen": (app(*SLEEP), "TRM0303", "nothing listens"),
    "namespace": (variable("TRAMO_NAMESPACE", "shop.locl"), "TRM0106", "eave TRAMO_NAMESPACE out"),
    "alias taken": (
        configured(lambda each: each["services"][0].update(clientAliases=[{"port": 80, "dnsName": "stock"}])),
        "TRM0201",
        "has stock:80 already",
    ),
    "no sidecar": (no_sidecar, "TRM0104", "tramo inject"),
    "app crashes": (app("sh", "-c", "exit 3"), "TRM0108", "see the log"),
    "hosts file": (variable("TRAMO_HOSTS_FILE", "/proc/1/nowhere/hosts"), "TRM0305", "cannot be written"),
    "app fails": (failing_app, "TRM0409", "answered by the app itself with 5xx"),
    "mesh": (variable("TRAMO_MESH", "elsewhere"), "TRM0109", "eave TRAMO_MESH out"),
    "alias on the app's port": (
        configured(lambda each: each["services"][0]["clientAliases"][0].update(port=8080)),
        "TRM0105",
        "only one of the two can listen",
    ),
    "unknown variable": (variable("TRAMO_ACESS_LOG", "json"), "TRM0301", "did you mean TRAMO_ACCESS_LOG?"),
}


def definition(name: str) -> Document:
    """A task definition of one app with its sidecar, made of the shop's stock, that nothing is wrong with."""
    document: Document = json.loads((SHOP / "stock.json").read_text())
    document["family"] = name
    document["containerDefinitions"] = [
        each for each in document["containerDefinitions"] if "tramo.gate" not in each.get("dockerLabels", {})
    ]
    for each in document["containerDefinitions"]:
        for mapping in each.get("portMappings", ()):
            mapping["name"] = "broken"
    first = next(each for each in document["containerDefinitions"] if each.get("portMappings"))
    first["name"] = "app"
    service = {"portName": "broken", "discoveryName": name, "clientAliases": [{"port": 80, "dnsName": name}]}
    container(document, LABEL)["dockerLabels"][LABEL] = json.dumps({"namespace": "shop.local", "services": [service]})
    variable("TRAMO_INBOUND", f"{name}=15100:8080/http")(document)
    return document


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A mesh whose every service is broken in its own way, beside stock, which is well."""
    directory = tmp_path_factory.mktemp("broken")
    shop = directory / "shop"
    subprocess.run(["cp", "-r", str(SHOP), str(shop)], check=True)
    services = json.loads((shop / "services.json").read_text())["services"]
    kept = [each for each in services if each["serviceName"] == "stock"]
    for path in shop.glob("*.json"):
        if path.name not in ("services.json", "stock.json"):
            path.unlink()
    for number, (change, _, _) in enumerate(WAYS.values()):
        name = f"w{number}"
        document = definition(name)
        change(document)
        (shop / f"{name}.json").write_text(json.dumps(document))
        kept.append({**kept[0], "serviceName": name, "taskDefinition": name})
    (shop / "services.json").write_text(json.dumps({"cluster": "broken", "services": kept}))
    with up(shop, directory / "s") as running:
        yield running
        running.command("down")
        running.wait_for_end()


def test_each_way_to_break_a_task_is_named_with_its_remedy(broken: Up) -> None:
    last: dict[str, Any] = {}

    def missing() -> list[str]:
        done = broken.command("check", "-o", "json")
        if not done.stdout:
            return list(WAYS)
        last.update(json.loads(done.stdout))
        found = [each for category in last["categories"] for check in category["checks"] for each in check["findings"]]
        assert done.returncode == int(any(each["level"] == "error" for each in found))
        absent = []
        for number, (way, (_, code, text)) in enumerate(WAYS.items()):
            # Of two that want one alias, the one that came first has it: the other has the finding, which names both.
            named = re.compile(rf"\bw{number}\b")
            of_it = [
                each for each in found if each["code"] == code and named.search(f"{each['resource']} {each['what']}")
            ]
            if not any(text in f"{each['where']} {each['what']} {each['remedy']}" for each in of_it):
                absent.append(way)
        return absent

    try:
        until(lambda: not missing(), LONGEST, "every way found")
    except TimeoutError:
        pytest.fail(f"not found: {missing()}\n{json.dumps(last, indent=1)}\n{broken.log.read_text()[-3000:]}")


def test_an_api_that_does_not_answer_is_named(broken: Up) -> None:
    done = broken.command("check", "--api-url", "http://127.0.0.1:9/live", "--region", "us-east-1")
    assert done.returncode == 1
    assert "TRM0401" in done.stdout + done.stderr or "credentials" in done.stderr
