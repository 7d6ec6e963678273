from __future__ import annotations

import json
from typing import Any

from infra.cli.addresses import calls
from infra.local.definition import parse


def task(*containers: dict[str, Any]) -> list[tuple[str, str]]:
    document = {"family": "f", "containerDefinitions": [{"image": "i", "memory": 64, **each} for each in containers]}
    return list(calls(parse(document, revision=1, region="us-east-1"), "10.64.0.16"))


def app(label: object = None) -> dict[str, Any]:
    ports = [{"name": "web", "containerPort": 8080, "appProtocol": "http"}, {"name": "line", "containerPort": 7000}]
    labels = {} if label is None else {"tramo.service-connect": label if isinstance(label, str) else json.dumps(label)}
    return {"name": "app", "command": ["run"], "portMappings": ports, "dockerLabels": labels}


SIDECAR = {"name": "sidecar", "dockerLabels": {"tramo.sidecar": "true"}}


def test_a_task_with_a_sidecar_is_called_at_its_ingress_ports() -> None:
    services = [{"portName": "web", "discoveryName": "shop"}, {"portName": "line", "ingressPortOverride": 16000}]
    assert task(app({"services": services}), SIDECAR) == [
        ("shop", "http://10.64.0.16:15100"),
        ("line", "10.64.0.16:16000"),
    ]


def test_a_task_without_one_is_called_at_its_own_ports() -> None:
    assert task(app()) == [("web", "http://10.64.0.16:8080"), ("line", "10.64.0.16:7000")]


def test_a_label_that_says_nothing_is_no_error() -> None:
    for label in ("{", "[]", {"services": 3}, {}):
        assert task(app(label), SIDECAR) == []
