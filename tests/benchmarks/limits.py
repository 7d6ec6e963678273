"""A control group with the CPU and the memory that Service Connect asks of a task for its proxy: 256 units, 64 MiB.

Groups are made below those this process is in, so that limits it has itself still hold, and are removed at the end.
Linux has two interfaces: version 1 with a hierarchy for each resource, and version 2 with one for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CPU_SHARE: Final = 0.25
MEMORY_BYTES: Final = 64 << 20
PERIOD_MICROSECONDS: Final = 100_000
"""The kernel's default: within each, the group runs until its share is used up."""
ROOT: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Limits:
    """A group's directories: one, or one for each resource; and whether a process sees it as a container does."""

    directories: tuple[Path, ...]
    is_container: bool = False

    def entering(self) -> list[str]:
        """Return the beginning of a command that starts the rest of it within the group, as the same process."""
        command = self._joining()
        if self.is_container:
            # Its own group in the place of the machine's below /sys/fs/cgroup.
            version_1 = [directory for directory in self.directories if directory.is_relative_to(ROOT / "memory")]
            shown, place = (version_1[0], ROOT / "memory") if version_1 else (self.directories[0], ROOT)
            script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
            command += ["unshare", "--mount", "sh", "-c", script, "show", str(shown), str(place)]
        return command

    def _joining(self) -> list[str]:
        files = [str(directory / "cgroup.procs") for directory in self.directories]
        script = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@"'
        return ["sh", "-c", script, "enter", *files, "--"]

    def peak_bytes(self) -> int | None:
        """Return the most memory that the group ever had, where the kernel counts it."""
        for directory in self.directories:
            for name in ("memory.peak", "memory.max_usage_in_bytes"):
                if (directory / name).exists():
                    return int((directory / name).read_text())
        return None

    def remove(self) -> None:
        """Remove the group. All its processes have ended."""
        for directory in self.directories:
            directory.rmdir()


def make(
    name: str, root: Path = ROOT, membership: Path = MEMBERSHIP, memory_bytes: int = MEMORY_BYTES
) -> Limits | None:
    """Make a group with the limits, or return None where groups cannot be made."""
    quota = int(CPU_SHARE * PERIOD_MICROSECONDS)
    own = _memberships(membership)
    if (root / "cgroup.controllers").exists():
        directory = root / own.get("", "/").lstrip("/") / name
        settings = {
            directory / "cpu.max": f"{quota} {PERIOD_MICROSECONDS}",
            directory / "memory.max": str(memory_bytes),
        }
    else:
        cpu, memory = (root / each / own.get(each, "/").lstrip("/") / name for each in ("cpu", "memory"))
        settings = {
            cpu / "cpu.cfs_period_us": str(PERIOD_MICROSECONDS),
            cpu / "cpu.cfs_quota_us": str(quota),
            memory / "memory.limit_in_bytes": str(memory_bytes),
        }
    made: list[Path] = []
    try:
        for directory in dict.fromkeys(file.parent for file in settings):
            directory.mkdir()
            made.append(directory)
        for file, value in settings.items():
            file.write_text(value)
    except OSError:
        for directory in made:
            directory.rmdir()
        return None
    return Limits(tuple(made))


def _memberships(file: Path) -> dict[str, str]:
    """Return the controller (empty for version 2) to the path of the group that this process is in."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found
