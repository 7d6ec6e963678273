"""The API against its own description: requests that schemathesis makes of it, good and bad, over HTTP.

The description says which names are well formed; here they are narrowed to some that exist and one that does not,
so that about half of the good requests find something. Only the rules and the findings of a namespace, and the reports
of tasks, take any name that is well formed. The requests are the same in each run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import api.app
from api.openapi import describe
from api.requests import LARGEST_BODY_BYTES
from registry.publishing import Changes, Publisher
from tests.integration.functions.conftest import Deployed
from tests.support.control_plane.building import declare, task
from tests.support.control_plane.gateway import Gateway, serving, session

NOW = 1_795_345_200.0
NAMESPACE = "conformance.local"
SERVICES = ("orders", "stock")
TASKS = ("aa", "bb")
KNOWN = {
    "namespace": [NAMESPACE, "unknown.local"],
    "service": [*SERVICES, "unknown"],
    "task": [*TASKS, "unknown"],
}
# Of Chalice, before any route: the method is not the route's, or the body is of another type.
ALWAYS = {405, 415}


def populate(deployed: Deployed) -> None:
    """Two services with two tasks, published."""
    store = api.app.store
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    for name in SERVICES:
        declare(store, name)
    for each in TASKS:
        store.tasks.apply(task(each, namespace=NAMESPACE))
    Publisher(store, lambda: NOW, lambda _: None).publish(NAMESPACE, Changes(frozenset(TASKS)))


def narrowed(description: dict[str, Any]) -> dict[str, Any]:
    for path, methods in description["paths"].items():
        # These may be there, or come, before the namespace and the task.
        known = {} if path.endswith(("/rules", "/findings", "/health")) else KNOWN
        for operation in methods.values():
            operation["security"] = []  # API Gateway's, which asks before the function is called
            operation["parameters"] = [
                {**each, "schema": {"enum": known[each["name"]]}}
                if each["in"] == "path" and each["name"] in known
                else each
                for each in operation["parameters"]
            ]
    return description


DESCRIPTION = schemathesis.openapi.from_dict(narrowed(describe(api.app.app.routes)))
OPERATIONS: list[Any] = [found.ok() for found in DESCRIPTION.get_all_operations() if isinstance(found, Ok)]
GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture
def url(deployed: Deployed) -> Iterator[str]:
    populate(deployed)
    with serving(Gateway(deployed.api, deployed.context, api.app.app.routes), session("aa")) as found:
        yield found


def modes() -> Iterator[Any]:
    """Yield every operation with good requests, and with bad ones if they can be bad."""
    for operation in OPERATIONS:
        yield pytest.param(operation, GOOD, id=f"{operation.label}-good")
        if "{" in operation.path:
            yield pytest.param(operation, BAD, id=f"{operation.label}-bad")


@pytest.mark.parametrize(("operation", "mode"), list(modes()))
def test_every_answer_is_as_described(operation: Any, mode: GenerationMode, url: str) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        check(case, case.call(base_url=url))

    ask()


def check(case: Any, response: Response) -> None:
    """Check an answer against the description, and against what all answers have in common."""
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance, response_headers_conformance]
    if response.status_code not in ALWAYS:
        checks.append(status_code_conformance)
    if response.status_code == 413:  # A good body may be too large, and a bad one be refused for its size first.
        assert int(response.request.headers["Content-Length"]) > LARGEST_BODY_BYTES
    elif response.status_code != 412:  # If-Match was well formed, but did not match
        checks += [positive_data_acceptance, negative_data_rejection]
    case.validate_response(response, checks=checks)
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["detail"]
    elif case.method == "GET":
        assert response.headers["etag"]
