"""`tramo bug-report`: what is in the archive, and what is not."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest

from infra.cli import bug_report, redaction
from infra.cli.mesh import Mesh
from infra.client.api import ApiError, MeshApi

KEY = "AKIAIOSFODNN7EXAMPLE"
STATUS: dict[str, Any] = {"dead_letters": [], "failing": [], "region": "us-east-1", "session_token": "abc"}


class Api:
    """A namespace without sidecars, or an API that does not answer."""

    def __init__(self, error: ApiError | None = None) -> None:
        self._error = error

    def namespaces(self) -> list[str]:
        if self._error is not None:
            raise self._error
        return ["shop.local"]

    def findings(self, _: str | None) -> list[dict[str, Any]]:
        return []

    def services(self, _: str) -> list[dict[str, Any]]:
        return [{"name": "orders", "endpoints": {"ready": 1}}]

    def snapshot(self, _: str) -> dict[str, Any]:
        return {"revision": 1, "services": []}

    def ask(self, *_: object) -> dict[str, Any]:
        return {"id": "1", "asked": []}


def written(api: Api, directory: Path | None) -> dict[str, str]:
    file = io.BytesIO()
    mesh = Mesh(cast(MeshApi, api), None, local=STATUS)
    bug_report.write(file, "report", bug_report.parts(mesh, directory), 0.0)
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        found = {each.name: archive.extractfile(each) for each in archive}
        return {name.removeprefix("report/"): part.read().decode() for name, part in found.items() if part is not None}


def test_state_and_logs_of_sidecars_are_in_it_and_those_of_apps_are_not(tmp_path: Path) -> None:
    task = tmp_path / "tasks" / ("ab" * 16)
    task.mkdir(parents=True)
    (tmp_path / "functions.log").write_text(f"signed by {KEY}\n")
    (task / "sidecar.log").write_text("it starts\n" * 1000)
    (task / "app.log").write_text("card number 4111\n")
    parts = written(Api(), tmp_path)
    assert {"version.json", "check.json", "registry.json", "local.json", "shop.local/sidecars.json"} <= parts.keys()
    assert parts["logs/functions.log"] == "signed by [removed]\n"
    assert parts[f"logs/tasks/{'ab' * 16}/sidecar.log"].count("\n") == bug_report.LOG_LINES
    assert "4111" not in "".join(parts.values())
    assert json.loads(parts["local.json"])["session_token"] == "[removed]"
    assert json.loads(parts["check.json"])["ok"]


def test_a_mesh_whose_api_is_away_has_a_report_that_says_so() -> None:
    parts = written(Api(ApiError("nobody answers")), None)
    assert parts["namespaces.txt"] == "nobody answers\n"
    assert "TRM0401" in parts["check.json"]
    assert parts["registry.json.error.txt"] == "nobody answers\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key {KEY} used", "key [removed] used"),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer [removed]"),
        ("postgres://me:pw@db/x", "postgres://[removed]@db/x"),
        ("DB_PASSWORD=hunter2 next", "DB_PASSWORD=[removed] next"),
        ('{"client_secret": "xyz", "a": 1}', '{"client_secret": "[removed]", "a": 1}'),
        ("X-Amz-Security-Token=abc&X=1", "X-Amz-Security-Token=[removed]&X=1"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiI.sig", "jwt [removed]"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "[removed]"),
        ("a request of orders took 5 ms", "a request of orders took 5 ms"),
    ],
)
def test_what_looks_like_a_secret_is_removed_from_texts(text: str, expected: str) -> None:
    assert redaction.text(text) == expected


def test_variables_whose_names_mean_secrets_lose_their_values() -> None:
    variables = [{"name": "API_KEY", "value": "x"}, {"name": "TRAMO_ZONE", "value": "a"}]
    assert redaction.document({"environment": variables}) == {
        "environment": [{"name": "API_KEY", "value": "[removed]"}, {"name": "TRAMO_ZONE", "value": "a"}]
    }
