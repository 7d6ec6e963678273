"""`tramo policy`: read, write, remove and check the policy of a service."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from infra.cli.mesh import open_mesh
from infra.local.settings import LocalError

SCHEMA: Final = Path(__file__).parents[2] / "functions" / "registry" / "schemas" / "policy.json"
"""Not part of the wheel."""
BAD_INPUT: Final = 65


class UnreadableError(LocalError):
    """A file that cannot be read, or is not JSON."""


def run(options: argparse.Namespace) -> int:
    """Do what was asked and return the exit code."""
    try:
        return _run(options)
    except UnreadableError as error:
        sys.stderr.write(f"tramo: {error}\n")
        return BAD_INPUT


def _run(options: argparse.Namespace) -> int:
    if options.action == "validate":
        mistakes = faults(_read(options.service))
        sys.stderr.write("".join(f"tramo: {options.service}: {each}\n" for each in mistakes))
        if not mistakes:
            sys.stdout.write(f"{options.service} is a valid policy\n")
        return BAD_INPUT if mistakes else 0
    mesh = open_mesh(options)
    namespace = mesh.namespace_of(options.service)
    tag = f'"{options.if_revision}"' if options.if_revision is not None else None
    since = None
    if options.action == "get":
        policy, tag = mesh.api.policy(namespace, options.service)
        since = mesh.api.service(namespace, options.service).get("policy_since")
    elif options.action == "delete":
        policy, tag = mesh.api.set_policy(namespace, options.service, None, tag)
    else:
        if options.file is None:
            raise LocalError("tramo policy set SERVICE FILE: name the file with the policy, or - for standard input")
        policy, tag = mesh.api.set_policy(namespace, options.service, _read(options.file), tag)
    shown = f"revision {tag.strip(chr(34)) or '0'}" + (f", since {since}" if since else "")
    sys.stderr.write(f"tramo: {namespace}/{options.service}: {shown}\n")
    sys.stdout.write(json.dumps(policy, indent=2) + "\n")
    return 0


def _read(name: str) -> Any:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise UnreadableError(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableError(f"{name}: {error}") from error


def faults(document: Any) -> list[str]:
    """Return what is wrong with a policy, each with its place."""
    try:
        import jsonschema

        schema = json.loads(SCHEMA.read_text())
    except (ImportError, OSError) as error:
        raise LocalError(f"this runs in a checkout of the project after make setup ({error})") from error
    validator = jsonschema.Draft7Validator(schema)
    return [f"{each.json_path}: {each.message}" for each in sorted(validator.iter_errors(document), key=str)]
