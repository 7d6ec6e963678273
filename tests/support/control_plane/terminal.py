"""Commands in a pseudo-terminal of 80 columns, as a person sees them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final

COLUMNS: Final = 80
ROOT: Final = Path(__file__).parents[3]
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(state: Path, *arguments: str, seconds: float = 120.0) -> tuple[int, str]:
    """Run a `tramo` command; return its exit code and what the screen shows, without colours."""
    mine, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    environment.pop("TRAMO_API_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.cli.main", "--state-dir", str(state), *arguments],
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
