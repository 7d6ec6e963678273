"""The texts of findings: they name the thing, and have bounds."""

from __future__ import annotations

import errno

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core import findings
from sidecar.core.findings import LONGEST_TEXT, LONGEST_WHERE, MOST_FINDINGS, Finding

KNOWN = ("TRAMO_ACCESS_LOG", "TRAMO_NAMESPACE", "TRAMO_INBOUND")


def test_an_unknown_variable_is_named_with_the_one_that_was_meant() -> None:
    (found,) = findings.unknown_variables(["TRAMO_ACESS_LOG", "PATH", "TRAMO_INBOUND"], KNOWN)
    assert (found.code, found.level, found.where) == ("TRM0301", "error", "TRAMO_ACESS_LOG")
    assert found.remedy == "did you mean TRAMO_ACCESS_LOG?"


def test_a_variable_like_no_other_is_to_be_removed() -> None:
    (found,) = findings.unknown_variables(["TRAMO_XQJZ"], KNOWN)
    assert "remove it" in found.remedy


def test_a_port_in_use_and_a_port_that_needs_a_privilege_have_different_remedies() -> None:
    in_use = findings.not_bound("127.254.0.2", 8080, ["orders"], errno.EADDRINUSE, "Address already in use")
    assert (in_use.where, in_use.what) == ("127.254.0.2:8080", "orders cannot be called: Address already in use")
    assert "listens on port 8080 already" in in_use.remedy
    assert "root" not in in_use.remedy
    denied = findings.not_bound("127.254.0.2", 80, ["orders"], errno.EACCES, "Permission denied")
    assert "as root" in denied.remedy
    assert "listens" not in denied.remedy


def test_too_many_addresses_for_the_open_files_are_said_to_be_that() -> None:
    found = findings.not_bound("127.254.9.9", 80, ["late"], errno.EMFILE, "Too many open files")
    assert "ulimit nofile" in found.remedy
    assert "TRAMO_REDIRECT" in found.remedy


def test_many_names_are_counted() -> None:
    found = findings.service_connect("/etc/hosts", ["a", "b", "c", "d", "e"])
    assert "a, b, c and 2 more" in found.what


def test_inbound_is_compared_in_its_own_words() -> None:
    assert "leaves out" in findings.inbound_mismatch("a", "", "a=15100:80/http").what
    assert "does not offer" in findings.inbound_mismatch("a", "a=15100:80/http", "").what
    assert "says a=15101" in findings.inbound_mismatch("a", "a=15100", "a=15101").what


def test_errors_come_first_and_the_rest_is_cut() -> None:
    many = [Finding("TRM0301", "warning", f"TRAMO_{number:02}", "x", "y") for number in range(40)]
    error = findings.app_refuses("orders", "127.0.0.1", 8080)
    found = findings.ordered([*many, error, error])
    assert found == [error, *many[: MOST_FINDINGS - 1]]


@given(st.lists(st.text(max_size=400), max_size=9), st.integers(0, 140), st.text(max_size=900))
def test_no_text_is_longer_than_a_report_takes(names: list[str], number: int, text: str) -> None:
    for found in (
        *findings.unknown_variables([f"TRAMO_{name}" for name in names], KNOWN),
        findings.not_bound("127.254.0.2", 80, names, number, text),
        findings.hosts_not_written(text, text),
        findings.service_connect(text, names),
        findings.inbound_mismatch(text, text, text),
        findings.namespace_mismatch(text, text),
        findings.app_refuses(text, text, 1),
        findings.no_redirect(text, 1, 2),
    ):
        assert 1 <= len(found.where) <= LONGEST_WHERE
        assert 1 <= len(found.what) <= LONGEST_TEXT
        assert 1 <= len(found.remedy) <= LONGEST_TEXT
