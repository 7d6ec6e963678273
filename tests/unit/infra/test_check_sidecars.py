"""What `tramo check` makes of the answers of sidecars."""

from __future__ import annotations

from typing import Any

import pytest

from infra.cli import check_sidecars
from infra.cli.traffic import edges_of
from infra.client.findings import ERROR
from infra.client.questions import Answered


def answer(offers: str = "web", ok: int = 0, failed: int = 0, **more: Any) -> dict[str, Any]:
    flags = more.pop("flags", {})
    row = {"name": "orders", "requests": ok + failed, "ok": ok, "failed": failed, "flags": flags, "latency": []}
    snapshot = {"age_seconds": 1.0, "interval_seconds": 1.0, "revision": 4}
    return {"client": [row], "offers": [offers], "seconds": 60.0, "version": "1.0", "snapshot": snapshot, **more}


def of_calls(*answers: dict[str, Any]) -> list[tuple[str, str, str]]:
    edges = edges_of("shop.local", {f"{number:032x}": each for number, each in enumerate(answers)}, {})
    return [(each.code, each.where, each.what) for each in check_sidecars.of_calls(edges)]


def test_an_app_that_answers_500_to_everything_is_named_with_its_callers() -> None:
    assert of_calls(answer(failed=12), answer("load", failed=8)) == [
        (
            "TRM0409",
            "calls of load, web",
            "20 of 20 calls failed in the last minute (0.00% success): 20 answered by the app itself with 5xx",
        )
    ]


def test_what_the_proxy_saw_is_told_apart_from_what_the_app_answered() -> None:
    ((_, _, what),) = of_calls(answer(failed=10, flags={"UF": 7}))
    assert what.endswith("7 UF (no connection to an endpoint could be made), 3 answered by the app itself with 5xx")


@pytest.mark.parametrize(
    ("ok", "failed", "codes"),
    [(100, 0, []), (99, 1, []), (97, 3, ["TRM0410"]), (5, 5, ["TRM0410"]), (4, 6, ["TRM0409"]), (0, 4, [])],
)
def test_the_share_that_fails_says_how_bad_it_is(ok: int, failed: int, codes: list[str]) -> None:
    assert [code for code, _, _ in of_calls(answer(ok=ok, failed=failed))] == codes


def test_sidecars_of_one_version_with_a_fresh_snapshot_are_well() -> None:
    assert check_sidecars.of_sidecars("n", Answered({"a" * 32: answer(), "b" * 32: answer()}, ())) == []


def test_silent_sidecars_several_versions_and_old_snapshots_are_warnings() -> None:
    old = {"age_seconds": 37.0, "interval_seconds": 5.0, "revision": 4}
    none = {"age_seconds": None, "interval_seconds": 5.0, "revision": 0}
    answers = {
        "a" * 32: answer(),
        "b" * 32: answer(version="0.9", snapshot=old),
        "c" * 32: answer(snapshot=none),
    }
    found = check_sidecars.of_sidecars("n", Answered(answers, tuple(f"{number:032x}" for number in range(7))))
    assert [each.code for each in found] == ["TRM0411", "TRM0413", "TRM0412"]
    assert found[0].what.endswith("and 2 more")
    assert found[1].what == "2 have 1.0, 1 have 0.9"
    assert found[2].what == "stale in bbbbbbbb (37 s old), cccccccc (none yet)"
    assert ERROR not in {each.level for each in found}
