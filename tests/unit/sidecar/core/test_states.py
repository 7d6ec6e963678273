from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.policy import DEFAULT
from sidecar.core.snapshot import EndpointRecord
from sidecar.core.states import AppProtocol, EndpointState, state_of

SCHEMA = Path(__file__).parents[4] / "functions/registry/schemas/snapshot.json"


def test_the_words_are_those_of_the_snapshots_schema() -> None:
    definitions: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    assert [*definitions["endpoint"]["properties"]["state"]["enum"], "gone"] == list(get_args(EndpointState))
    assert definitions["service"]["properties"]["protocol"]["enum"] == list(get_args(AppProtocol))


def test_an_endpoint_in_a_state_that_a_newer_registry_knows_gets_no_requests() -> None:
    cluster = Cluster("orders", "http", DEFAULT)
    cluster.update("http", DEFAULT, (EndpointRecord("a/http", "10.0.0.1", 15100, "warming"),), "", 1.0)
    assert state_of("warming") == cluster.endpoints[0].state == "starting"
    assert cluster.pick(1.0, 0, []) is None
