"""stock: knows how many of a thing there are."""

from __future__ import annotations

import zlib

from .shop import Json, Server, task_id

TASK = task_id()


def answer(path: str) -> tuple[int, Json]:
    """Answer the number of things there are, the same for the same thing."""
    return 200, {"service": "stock", "task": TASK, "left": zlib.crc32(path.encode()) % 100}


if __name__ == "__main__":
    Server(8080, answer).run()
