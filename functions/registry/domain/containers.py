"""Containers of a task definition: their labels, variables and TCP ports. Pure.

Rules:
1. ECS describes containers in the form of its API. A file that is not registered yet may have anything in a field: what
   has another form counts as empty here, and `definition.py` says that it is wrong.
2. A port mapping without a protocol is TCP's. UDP ports do not count: listeners of TCP and of UDP may share a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_PORT: Final = re.compile(r"\d{1,5}")
_RANGE: Final = re.compile(r"(\d{1,5})-(\d{1,5})")


def labels(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the docker labels of a container."""
    found = container.get("dockerLabels")
    return {str(name): value for name, value in found.items()} if isinstance(found, Mapping) else {}


def entries(container: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """Return the objects in a list of a container, such as its portMappings."""
    found = container.get(field)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def variables(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a container as it is written; secrets and files of variables are not in it."""
    return {str(each.get("name")): str(each.get("value")) for each in entries(container, "environment")}


def kind_of(value: Any) -> str:
    """Return the JSON type of a value as errors say it."""
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "null" if value is None else "an object")


class TcpPorts:
    """The TCP ports that containers map, and which container has each."""

    def __init__(self, containers: Iterable[Mapping[str, Any]]) -> None:
        self._single: dict[int, str] = {}
        self._ranges: list[tuple[int, int, str]] = []
        for container in containers:
            name = str(container.get("name"))
            for mapping in entries(container, "portMappings"):
                if (mapping.get("protocol") or "tcp") != "tcp":
                    continue
                if _PORT.fullmatch(str(mapping.get("containerPort"))):
                    self._single[int(mapping["containerPort"])] = name
                elif match := _RANGE.fullmatch(str(mapping.get("containerPortRange"))):
                    self._ranges.append((int(match[1]), int(match[2]), name))

    def single(self, port: int) -> str | None:
        """Return the container that maps this very port. It listens there, else the mapping has no use."""
        return self._single.get(port)

    def in_range(self, port: int) -> str | None:
        """Return the container with a range that has the port. It may listen on it, or on others of the range."""
        return next((name for first, last, name in self._ranges if first <= port <= last), None)

    def holder(self, port: int) -> str | None:
        """Return the container that has the port, by itself or in a range."""
        return self.single(port) or self.in_range(port)
