"""docs/conformance.md against what is installed and what is tested."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

from tests.support.clients.drivers import DRIVERS, NODE_INTEROP
from tests.support.clients.matrix import cases
from tests.support.clients.matrix_clients import CLIENTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "conformance.md").read_text()


def test_versions_are_those_that_run() -> None:
    told = dict(re.findall(r"^\| (\S+) \| (\d\S*) \|", TEXT.partition("\n## ")[0], re.MULTILINE))
    packages = json.loads((DRIVERS / "package.json").read_text())["dependencies"]
    assert told, "the table of software is not where it was"
    assert {name: packages.get(name) or version(name) for name in told} == told


def test_the_lock_names_no_host_that_packages_come_from() -> None:
    lock = json.loads((DRIVERS / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_every_interop_case_is_told() -> None:
    tests = re.findall(r"^def test_(\w+)", (ROOT / "tests/conformance/test_grpc_interop.py").read_text(), re.MULTILINE)
    cases = {name for name in tests if not name.startswith("called_by_")} | set(NODE_INTEROP)
    assert [case for case in sorted(cases) if case not in TEXT] == []


def test_every_case_of_the_matrix_is_told() -> None:
    assert [case.name for case in cases() if case.name not in TEXT] == []


def test_every_client_of_the_matrix_is_told() -> None:
    (heading,) = re.findall(r"^\| case \| (curl.*) \|$", TEXT, re.MULTILINE)
    assert heading.split(" | ") == [client.replace("HTTP/", "") for client in CLIENTS]
