"""template.yaml as CloudFormation sees it, and the functions as `sam build` makes them. Neither needs AWS."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from boto3.session import Session
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

REPOSITORY: Final = Path(__file__).parents[3]
TEMPLATE: Final = REPOSITORY / "template.yaml"
REGION: Final = "us-east-1"
BUILDS: Final = REPOSITORY / ".cache" / "sam"
BUILD_SECONDS: Final = 300.0
HOST_ARCHITECTURE: Final = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclass(frozen=True, slots=True)
class Function:
    """One function as Lambda would be told of it. `timeout` in seconds, `memory` in MB."""

    name: str
    handler: str
    timeout: int
    memory: int
    environment: Mapping[str, str]


def read() -> dict[str, Any]:
    """Return the template as it is written, intrinsic functions in their long form."""
    template: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return template


@cache
def expand() -> dict[str, Any]:
    """Return the template after the SAM transform. Shared between tests: do not change it."""
    template = read()
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"  # what `sam package` puts there
    translator = Translator({}, Parser(), boto_session=Session(region_name=REGION))
    expanded: dict[str, Any] = translator.translate(template, {})
    return expanded


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Return the expanded resources of a CloudFormation type: logical id to properties."""
    return {
        name: resource.get("Properties", {})
        for name, resource in expand()["Resources"].items()
        if resource["Type"] == kind
    }


def deployed(**parameters: str) -> dict[str, dict[str, Any]]:
    """Return what the stack has with these parameters, the others at their default: logical id to resource.

    Conditions, parameters and `Fn::If` are resolved; what only AWS knows, such as ARNs, stays as it is written.
    """
    template = expand()
    values = {name: str(each["Default"]) for name, each in template["Parameters"].items()}
    unknown = parameters.keys() - values.keys()
    assert not unknown, f"the template has no parameter {unknown}"
    values |= parameters
    conditions: dict[str, bool] = {}
    for name, each in template.get("Conditions", {}).items():
        conditions[name] = _holds(each, values, conditions)
    return {
        name: _resolved(resource, values, conditions)
        for name, resource in template["Resources"].items()
        if conditions.get(resource.get("Condition", ""), True)
    }


def _holds(condition: Any, values: Mapping[str, str], known: Mapping[str, bool]) -> bool:
    match condition:
        case {"Fn::Not": [one]}:
            return not _holds(one, values, known)
        case {"Fn::And": list(each)}:
            return all(_holds(one, values, known) for one in each)
        case {"Fn::Or": list(each)}:
            return any(_holds(one, values, known) for one in each)
        case {"Fn::Equals": [left, right]}:
            return bool(_resolved(left, values, known) == _resolved(right, values, known))
        case {"Condition": str(name)}:
            return known[name]
    raise ValueError(f"this condition is not known here: {condition}")


_NO_VALUE: Final = {"Ref": "AWS::NoValue"}


def _resolved(value: Any, values: Mapping[str, str], conditions: Mapping[str, bool]) -> Any:
    match value:
        case {"Fn::If": [str(name), yes, no]}:
            return _resolved(yes if conditions[name] else no, values, conditions)
        case {"Ref": str(name)} if name in values:
            return values[name]
        case {"Fn::Sub": [str(text), dict(own)]}:
            known = {name: _resolved(each, values, conditions) for name, each in own.items()}
            names = {name: each for name, each in known.items() if isinstance(each, str)}
            return _resolved({"Fn::Sub": text}, {**values, **names}, conditions)
        case {"Fn::Sub": str(text)}:
            return {"Fn::Sub": re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], match[0]), text)}
        case dict():
            found = {key: _resolved(each, values, conditions) for key, each in value.items()}
            return {key: each for key, each in found.items() if each != _NO_VALUE}
        case list():
            return [each for one in value if (each := _resolved(one, values, conditions)) != _NO_VALUE]
    return value


def functions(table: str = "tramo") -> dict[str, Function]:
    """Return the functions by logical id; references to tables become their names, parameters their default."""
    values = {name: str(each.get("Default", "")) for name, each in expand()["Parameters"].items()}
    values |= {"Registry": table, "Feed": f"{table}-feed", "Snapshots": ""}  # no S3: the bucket's name is empty
    return {
        name: Function(
            name=name,
            handler=properties["Handler"],
            timeout=properties["Timeout"],
            memory=properties["MemorySize"],
            environment={key: _value(value, values) for key, value in properties["Environment"]["Variables"].items()},
        )
        for name, properties in resources("AWS::Lambda::Function").items()
    }


def _value(value: Any, values: Mapping[str, str]) -> str:
    """Return a text of the template; an attribute of a resource stands for itself, such as Registry.StreamArn."""
    if not isinstance(value, dict):
        return str(value)
    return values[value["Ref"]] if "Ref" in value else ".".join(value["Fn::GetAtt"])


def _sources() -> Iterator[Path]:
    yield TEMPLATE
    yield REPOSITORY / "samconfig.toml"
    for path in sorted((REPOSITORY / "functions").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in _sources():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(REPOSITORY)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def build(architecture: str = HOST_ARCHITECTURE) -> Path:
    """Run `sam build` and return its output: a directory per function, named by its logical id.

    A build is kept until the functions or the template change.
    """
    target = BUILDS / f"{architecture}-{_fingerprint()}"
    if target.is_dir():
        return target
    BUILDS.mkdir(parents=True, exist_ok=True)
    for old in BUILDS.glob(f"{architecture}-*"):
        shutil.rmtree(old, ignore_errors=True)
    binaries = Path(sys.executable).parent
    with tempfile.TemporaryDirectory(dir=BUILDS, prefix="making-") as work:
        made = Path(work) / "build"
        finished = subprocess.run(
            [binaries / "sam", "build", "--build-dir", made, "--parameter-overrides", f"Architecture={architecture}"],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if finished.returncode:
            raise RuntimeError(f"sam build failed:\n{finished.stdout.decode(errors='replace')}")
        made.rename(target)
    return target
