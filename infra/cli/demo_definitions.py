"""Task definitions that the demo registers besides the shop's own: two releases of orders and a copycat of stock.

They are made of the shop's files. What `tramo up` would read has no mistakes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from infra.local.settings import ACCOUNT, REPOSITORY

SHOP: Final = REPOSITORY / "infra" / "examples" / "shop"
NAMESPACE: Final = "shop.local"

_COPYCAT: Final = "copycat"
_LABEL: Final = "tramo.service-connect"
# It writes down each request that it gets: none is what the demo expects.
_NOTES_REQUESTS: Final = """
from apps.shop import Server

def answer(path):
    print("GET", path, flush=True)
    return 500, {}

Server(8080, answer).run()
"""
_ENDS: Final = "raise SystemExit('this release ends as soon as it has started')"


def second_release() -> Mapping[str, Any]:
    """Return the second version of orders."""
    document: Mapping[str, Any] = json.loads((SHOP / "releases" / "orders-2.json").read_text(encoding="utf-8"))
    return document


def broken_release() -> Mapping[str, Any]:
    """Return a version of orders whose app ends at once, and which would have another protocol and another name."""
    document = json.loads((SHOP / "releases" / "orders-2.json").read_text(encoding="utf-8"))
    app, sidecar = document["containerDefinitions"][:2]
    app["command"] = ["python", "-c", _ENDS]
    # Without one the app would count as ready for the moment in which it runs.
    app["healthCheck"] = {"command": ["CMD-SHELL", "exit 1"], "interval": 5, "timeout": 2, "retries": 3}
    app["portMappings"][0]["appProtocol"] = "grpc"
    label = json.loads(sidecar["dockerLabels"][_LABEL])
    label["services"][0]["clientAliases"] = [{"port": 80, "dnsName": "orders-3"}]
    sidecar["dockerLabels"][_LABEL] = json.dumps(label)
    sidecar["environment"] = [
        {**each, "value": "orders=15100:8080/grpc"} if each["name"] == "TRAMO_INBOUND" else each
        for each in sidecar["environment"]
    ]
    return {**document, "containerDefinitions": [app, sidecar, *document["containerDefinitions"][2:]]}


def copycat() -> Mapping[str, Any]:
    """Return a task definition of another family and task role that says it is stock.

    What its app writes on standard output are the requests that it gets.
    """
    stock = json.loads((SHOP / "stock.json").read_text(encoding="utf-8"))
    app, sidecar = stock["containerDefinitions"][:2]
    label = json.loads(sidecar["dockerLabels"][_LABEL]) | {"standalone": True}
    app = {name: value for name, value in app.items() if name != "dependsOn"}
    app["command"] = ["python", "-c", _NOTES_REQUESTS]
    app["dockerLabels"] = {_LABEL: json.dumps(label)}
    role = f"arn:aws:iam::{ACCOUNT}:role/{_COPYCAT}"  # services that share a role share their names
    return {**stock, "family": _COPYCAT, "taskRoleArn": role, "containerDefinitions": [app]}
