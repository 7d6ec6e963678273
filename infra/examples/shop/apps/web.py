"""web: the shop's front. Every page is an order."""

from __future__ import annotations

from .shop import Json, Peer, Server, task_id

ORDERS = Peer("orders", 80)
TASK = task_id()


def answer(path: str) -> tuple[int, Json]:
    """Answer a page with the order it made."""
    return 200, {"service": "web", "task": TASK, "order": ORDERS.get(f"/orders{path}")}


if __name__ == "__main__":
    Server(8080, answer).run()
