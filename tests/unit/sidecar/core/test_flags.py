from __future__ import annotations

from sidecar.core.errors import LocalReply
from sidecar.core.flags import FLAGS, UF, URX, joined


def test_every_flag_stands_once_in_the_table() -> None:
    codes = [flag.code for flag in FLAGS]
    assert len(set(codes)) == len(codes)


def test_only_flags_that_go_with_no_answer_have_no_status() -> None:
    assert {flag.code for flag in FLAGS if flag.status == 0} == {"URX", "DC"}


def test_what_did_not_reach_the_application_is_not_a_failure_of_its_answer() -> None:
    assert {flag.code for flag in FLAGS if flag.unprocessed} == {"UH", "UF", "UO", "OM", "NR"}


def test_flags_are_joined_where_somebody_outside_reads_them() -> None:
    reply = LocalReply(UF, "no connection").with_flags((URX,))
    assert joined(reply.flags) == "UF,URX"
    assert (b"tramo-response-flags", b"UF,URX") in reply.fields()
    assert reply.status == 503
