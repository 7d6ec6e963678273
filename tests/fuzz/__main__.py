"""Fuzz with atheris, which looks for inputs that reach new code: `python -m tests.fuzz [--seconds N] [NAME...]`.

Each target has a process of its own. What it finds is written into `out/fuzz/`, with the command to see it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

OUT: Final = Path(__file__).parents[2] / "out" / "fuzz"
MAX_BYTES: Final = 4096
GRACE_SECONDS: Final = 60.0
TARGETS: Final = "tests.fuzz.targets"
"""Imported when it is needed: atheris must see the import to follow what runs."""


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process; it ends with an exit code other than 0 when something was found."""
    atheris = import_module("atheris")  # `make fuzz` installs it
    with atheris.instrument_imports(include=["sidecar"]):
        targets = import_module(TARGETS).TARGETS
    atheris.Setup([sys.argv[0], *arguments], targets[name])
    atheris.Fuzz()


def run(name: str, seconds: int, seeds: tuple[bytes, ...]) -> bool:
    """Fuzz one target in a process of its own; whether it held."""
    corpus = OUT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-artifact_prefix={OUT}/{name}-", "-timeout=10"]
    command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--", *options, str(corpus)]
    with (OUT / f"{name}.log").open("wb") as log:
        found = subprocess.run(command, stdout=log, stderr=log, timeout=seconds + GRACE_SECONDS, check=False)
    lines = (OUT / f"{name}.log").read_text(errors="replace").splitlines()
    last = next((line for line in reversed(lines) if "cov:" in line), "no input was run")
    print(f"{name:20} {'held' if found.returncode == 0 else 'FAILED'}  {last.strip()}", flush=True)
    if found.returncode != 0:
        print(f"  see {OUT / name}.log; again: python -m tests.fuzz --target {name} -- {OUT}/{name}-crash-...")
    return found.returncode == 0


def main() -> int:
    """Fuzz all targets, or those named."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help="targets, all of tests/fuzz/targets.py by default")
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--target", help="fuzz this one here, with libFuzzer's options behind `--`")
    given, rest = sys.argv[1:], []
    if "--" in given:
        given, rest = given[: given.index("--")], given[given.index("--") + 1 :]
    options = parser.parse_args(given)
    if options.target:
        fuzz(options.target, rest)
        return 0
    seeds = import_module("tests.fuzz.seeds").SEEDS
    held = [run(name, options.seconds, seeds[name]) for name in options.names or import_module(TARGETS).TARGETS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
