"""A class that needs more than four booleans has a state that nobody has named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
MOST: Final = 4


def classes_of(text: str) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)}


def is_boolean(value: ast.expr, parameters: set[str]) -> bool:
    match value:
        case ast.Constant(value=bool()) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Name(id=name):
            return name in parameters
    return False


def booleans(node: ast.ClassDef) -> set[str]:
    """The attributes that a class sets to True, False or a comparison, or takes as bool."""
    found = {
        name.id
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.annotation, ast.Name) and line.annotation.id == "bool"
        for name in (line.target,)
        if isinstance(name, ast.Name)
    }
    for function in node.body:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= set(_set_in(function))
    return found


def _set_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    parameters = {a.arg for a in arguments if isinstance(a.annotation, ast.Name) and a.annotation.id == "bool"}
    for line in ast.walk(function):
        if isinstance(line, ast.Assign) and is_boolean(line.value, parameters):
            for target in line.targets:
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == "self"
                ):
                    yield target.attr


def with_bases(name: str, known: dict[str, ast.ClassDef]) -> set[str]:
    """The booleans of a class and of those that it is made from, as far as they are known."""
    node = known[name]
    found = booleans(node)
    for base in node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(base, ast.Name) and base.id in known and base.id != name:
            found |= with_bases(base.id, known)
    return found


@pytest.mark.parametrize("plane", ["sidecar", "functions", "infra"])
def test_no_class_has_more_than_four_booleans(plane: str) -> None:
    known: dict[str, ast.ClassDef] = {}
    for path in sorted((ROOT / plane).rglob("*.py")):
        known |= classes_of(path.read_text(encoding="utf-8"))
    counts = {name: sorted(with_bases(name, known)) for name in known}
    assert len(counts) > 10, "the classes were found"
    assert {name: found for name, found in counts.items() if len(found) > MOST} == {}


def test_booleans_of_a_base_count() -> None:
    known = classes_of(
        "class A:\n"
        "    def __init__(self, given: bool) -> None:\n"
        "        self.one = False\n"
        "        self.two = given\n"
        "class B(A):\n"
        "    three: bool = False\n"
        "    def step(self, x: int) -> None:\n"
        "        self.four = x > 1\n"
        "        self.number = x\n"
    )
    assert with_bases("B", known) == {"one", "two", "three", "four"}
