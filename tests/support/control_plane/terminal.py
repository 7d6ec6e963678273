"""Commands in a pseudo-terminal of 80 columns, as a person sees them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Final

COLUMNS: Final = 80
ROOT: Final = Path(__file__).parents[3]
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


_SEVERAL: Final = """
import json, sys
from infra.cli.main import main
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    print(f"\\n{sys.argv[2]} {code}", flush=True)
"""


def run(state: Path, *arguments: str, seconds: float = 120.0) -> tuple[int, str]:
    """Run a `tramo` command; return its exit code and what the screen shows, without colours."""
    return _run(["-m", "infra.cli.main", "--state-dir", str(state), *arguments], seconds)


def run_all(state: Path, commands: Sequence[tuple[str, ...]], seconds: float = 300.0) -> list[tuple[int, str]]:
    """Run several `tramo` commands in one process, one after the other; return what `run` returns, for each."""
    end = "=-=-= end of a command:"
    wanted = json.dumps([["--state-dir", str(state), *arguments] for arguments in commands])
    code, text = _run(["-c", _SEVERAL, wanted, end], seconds)
    assert code == 0, text
    # What stands before an end is of its command, behind the exit code of the one before.
    first, *others = text.split(f"\n{end} ")
    codes = [int(each.partition("\n")[0]) for each in others]
    texts = [first, *(each.partition("\n")[2] for each in others[:-1])]
    return list(zip(codes, texts, strict=True))


def _run(arguments: list[str], seconds: float) -> tuple[int, str]:
    mine, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    environment.pop("TRAMO_API_URL", None)
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        start_new_session=True,
    )
    os.close(terminal)
    output = b""
    try:
        while True:
            try:
                read = os.read(mine, 65536)
            except OSError:  # the other end is closed: the process has ended
                break
            if not read:
                break
            output += read
        code = process.wait(seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(mine)
    return code, screen(output.decode(errors="replace"))


def screen(text: str) -> str:
    """Return the lines that stand at the end: what a carriage return was written over is gone."""
    lines = []
    for line in _ESCAPES.sub("", text.replace("\x1b[K", "")).replace("\r\n", "\n").split("\n"):
        lines.append(line.rpartition("\r")[2].rstrip())
    return "\n".join(lines)
