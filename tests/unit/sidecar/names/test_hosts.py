"""The hosts file: our part is ours, all else stays byte for byte."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sidecar.names.hosts import BEGIN, END, HostsFile, merge

NAMES = {"127.254.0.2": ["orders", "orders.shop.local"], "127.254.0.3": ["stock"]}
OURS = f"{BEGIN}\n127.254.0.2 orders orders.shop.local\n127.254.0.3 stock\n{END}\n"


def test_our_part_is_appended() -> None:
    assert merge("127.0.0.1 localhost\n", NAMES) == "127.0.0.1 localhost\n" + OURS
    assert merge("", NAMES) == OURS
    assert merge("127.0.0.1 localhost", NAMES) == "127.0.0.1 localhost\n" + OURS


def test_our_part_is_replaced_and_taken_back() -> None:
    text = merge("127.0.0.1 localhost\n", {"127.254.0.9": ["old"]}) + "10.0.0.1 added.later\n"
    assert merge(text, NAMES) == "127.0.0.1 localhost\n10.0.0.1 added.later\n" + OURS
    assert merge(text, {}) == "127.0.0.1 localhost\n10.0.0.1 added.later\n"


def test_a_part_cut_short_reaches_to_the_end() -> None:
    assert merge(f"a\n{BEGIN}\n127.254.0.2 ord", NAMES) == "a\n" + OURS


def test_a_file_without_our_part_is_left_alone() -> None:
    for text in ("", "\n", "a", "a\r\nb\x0bc\x85d\u2028e\n\n", f"a\n{END}\n"):
        assert merge(text, {}) == text


# Characters that other readers take for ends of lines, and our marks, whole and broken.
PIECES = st.sampled_from(
    ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "127.0.0.1 a", "# b", " ", "\udcff", END, "# tramo"]
)
OTHERS = st.lists(PIECES, max_size=12).map("".join)
HOSTS = st.dictionaries(
    st.integers(2, 9).map(lambda number: f"127.254.0.{number}"),
    st.lists(st.sampled_from(["a", "b", "c.d"]), min_size=1, max_size=3),
    max_size=4,
)


@given(OTHERS, HOSTS)
def test_what_is_not_ours_stays(text: str, names: dict[str, list[str]]) -> None:
    merged = merge(text, names)
    assert merged.startswith(text)
    assert merge(merged, {}) in (text, text + "\n")


@given(OTHERS, HOSTS, HOSTS, OTHERS)
def test_merging_again_changes_nothing(
    text: str, first: dict[str, list[str]], second: dict[str, list[str]], later: str
) -> None:
    merged = merge(merge(text, first) + later, second)
    assert merge(merged, second) == merged
    assert merged.count(BEGIN) == bool(second)


def test_the_file_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(b"127.0.0.1 localhost\r\n\xff not text\n")
    inode = path.stat().st_ino
    hosts = HostsFile(str(path))
    assert hosts.write(NAMES)
    assert path.read_bytes() == b"127.0.0.1 localhost\r\n\xff not text\n" + OURS.encode()
    assert hosts.write({})
    assert path.read_bytes() == b"127.0.0.1 localhost\r\n\xff not text\n"
    assert path.stat().st_ino == inode, "it is a bind mount in a container"


def test_an_unchanged_file_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(OURS)
    before = path.stat().st_mtime_ns
    assert HostsFile(str(path)).write(NAMES)
    assert path.stat().st_mtime_ns == before


def test_a_file_that_cannot_be_written_is_a_finding_until_it_can(tmp_path: Path) -> None:
    hosts = HostsFile(str(tmp_path / "missing" / "hosts"))
    assert not hosts.write(NAMES)
    (found,) = hosts.findings()
    assert (found.code, found.level) == ("TRM0305", "error")
    assert "No such file" in found.what
    assert "TRAMO_HOSTS_FILE=off" in found.remedy
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing" / "hosts").touch()
    assert hosts.write(NAMES)
    assert hosts.findings() == []


def test_lines_of_service_connect_are_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "127.0.0.1 localhost\n127.255.0.1 auth-server\n2600:f0f0:0:0:0:0:0:1 auth-server\n# 127.255.0.9 x\n"
    )
    hosts = HostsFile(str(path))
    hosts.write(NAMES)
    (found,) = hosts.findings()
    assert (found.code, found.where) == ("TRM0306", str(path))
    assert "Service Connect answers to auth-server in this task" in found.what
    path.write_text("127.0.0.1 localhost\n")
    hosts.write(NAMES)
    assert hosts.findings() == []


def test_a_file_that_somebody_else_has_changed_no_longer_holds_the_names(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n")
    hosts = HostsFile(str(path))
    assert not hosts.holds(), "nothing was written yet"
    hosts.write(NAMES)
    assert hosts.holds()
    path.write_text("127.0.0.1 localhost\n")
    assert not hosts.holds()
    hosts.write(NAMES)
    assert hosts.holds()
    path.unlink()
    assert not hosts.holds()
    assert not hosts.write(NAMES)
    assert not hosts.holds()
