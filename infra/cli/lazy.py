"""Functions of commands, whose modules are imported when they run: boto3 and moto take longer than most commands."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from functools import partial

from infra.local.settings import LocalError

Run = Callable[[argparse.Namespace], int | None]


def lazily(module: str, function: str = "run") -> Run:
    """Return a function that runs this one of a module of `infra.cli`."""
    return partial(_run, module, function)


def from_checkout(module: str) -> Run:
    """Return the same for a command that needs packages which only a checkout of the project has."""
    return partial(_run_from_checkout, module)


def _run(module: str, function: str, options: argparse.Namespace) -> int | None:
    run: Run = getattr(importlib.import_module(f"infra.cli.{module}"), function)
    return run(options)


def _run_from_checkout(module: str, options: argparse.Namespace) -> int | None:
    try:
        return _run(module, "run", options)
    except ModuleNotFoundError as error:
        message = f"this runs in a checkout of the project after make setup ({error.name} is not installed)"
        raise LocalError(message) from error
