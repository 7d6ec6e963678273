"""Findings of several sources, and their log."""

from __future__ import annotations

import logging

import pytest

from sidecar.core.findings import Finding, app_refuses, service_connect
from sidecar.findings import Findings, LabelFindings, MeshFindings

REFUSES = app_refuses("orders", "127.0.0.1", 8080)
BESIDE = service_connect("/etc/hosts", ["auth"])


def test_each_finding_is_logged_when_it_comes_and_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one: list[Finding] = []
    two: list[Finding] = [BESIDE]
    findings = Findings(lambda: one, lambda: two)
    for found in ([], [REFUSES], [REFUSES], []):
        one[:] = found
        findings.step()
    assert [(record.levelname, record.code) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("WARNING", "TRM0306"),
        ("ERROR", "TRM0303"),
        ("INFO", "TRM0303"),
    ]
    assert "127.0.0.1:8080" in caplog.text


def test_errors_of_all_sources_come_first() -> None:
    findings = Findings(lambda: [BESIDE], lambda: [REFUSES])
    assert findings.current() == [REFUSES, BESIDE]


def test_labels_are_judged_as_ecs_shows_them() -> None:
    labels = LabelFindings()
    right = ("sidecar", "tramo.service-connect", '{"namespace": "shop.local"}')
    labels.observe(frozenset((right,)))
    assert labels.current() == []
    wrong = ("app", "tramo.service-connect", '{"namespace": "shop.local", "service": []}')
    labels.observe(frozenset((right, wrong)))
    assert [each.where for each in labels.current()] == ["container app, label tramo.service-connect at $.service"]
    labels.observe(frozenset((right,)))
    assert labels.current() == []


def test_an_api_of_another_mesh_is_named_until_it_is_the_right_one() -> None:
    belonging = MeshFindings("Tramo")
    assert list(belonging.current()) == [], "an API that does not say its mesh is taken as right"
    belonging.observe("blue")
    (found,) = belonging.current()
    assert (found.code, found.level, found.where) == ("TRM0313", "error", "TRAMO_API_URL")
    assert "blue never registers it" in found.what
    belonging.observe("Tramo")
    assert list(belonging.current()) == []
