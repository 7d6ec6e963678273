"""What template.yaml deploys, as far as this machine stands in for it.

The template is the only description of the control plane: the table, the functions with their environment,
the event pattern, the stream's batches and filters, the schedule and the routes are read from it and nowhere
else.

Intrinsic functions: `!Ref` of a parameter is its value (the default, unless overridden), `!Ref` of a resource
is the resource's name here; `!GetAtt` of the table's StreamArn is `STREAM_ARN` until the table is made; others stay
as they are, because what they name (ARNs, roles) has no counterpart here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from infra.local import pattern
from infra.local.settings import REPOSITORY, LocalError

TEMPLATE: Final = REPOSITORY / "template.yaml"
_RATE: Final = re.compile(r"rate\((\d+) (second|minute|hour|day)s?\)")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


STREAM_ARN: Final = "{the table's stream}"
"""What stands in a variable that wants it; who makes the table knows it."""


class TemplateError(LocalError):
    """The template is not as this machine needs it."""


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """A CloudFormation function in short form, such as `!GetAtt Registry.Arn`."""

    name: str
    value: object


@dataclass(frozen=True, slots=True)
class StreamSource:
    """How Lambda reads the table's stream for a function."""

    batch_size: int
    retries: int
    bisect: bool
    filters: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API. `open`: nobody has to sign."""

    method: str
    path: str
    open: bool


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function and what calls it. Times in seconds.

    `keeps_failed` is whether events that it could not work become dead letters.
    """

    name: str
    handler: str
    code: Path
    timeout: float
    memory: int
    environment: Mapping[str, str]
    retries: int
    keeps_failed: bool
    patterns: tuple[Mapping[str, object], ...]
    every: float | None
    stream: StreamSource | None
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What the template deploys. `other_tables` are by their names here: the feed."""

    table: Mapping[str, Any]  # the registry: the input of CreateTable, without TableName
    other_tables: Mapping[str, Mapping[str, Any]]
    buckets: tuple[str, ...]
    ttl_attribute: str | None
    functions: tuple[FunctionSpec, ...]
    stage: str
    minimum_compression_size: int | None


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags."""


def _construct(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Intrinsic:
    if isinstance(node, yaml.ScalarNode):
        return Intrinsic(suffix, loader.construct_scalar(node))
    if isinstance(node, yaml.SequenceNode):
        return Intrinsic(suffix, loader.construct_sequence(node, deep=True))
    if isinstance(node, yaml.MappingNode):
        return Intrinsic(suffix, loader.construct_mapping(node, deep=True))
    raise TemplateError(f"!{suffix} has no value")


_Loader.add_multi_constructor("!", _construct)


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader with CloudFormation's tags
    except OSError as error:
        raise TemplateError(f"{path} cannot be read: run tramo from a checkout of the project") from error
    except yaml.YAMLError as error:
        raise TemplateError(f"{path}: {error}") from error
    return document


def parameters(path: Path = TEMPLATE) -> Mapping[str, Mapping[str, Any]]:
    """Return the template's parameters as they are written: name to its properties. Raises TemplateError."""
    found: Mapping[str, Mapping[str, Any]] = _read(path)["Parameters"]
    return found


def load(path: Path = TEMPLATE, parameters: Mapping[str, str] | None = None, table: str = "tramo") -> ControlPlane:
    """Read the template. `parameters` override the defaults, `table` is the registry's name; others begin with it.

    Raises TemplateError.
    """
    document = _read(path)
    references = {name: str(value.get("Default", "")) for name, value in document.get("Parameters", {}).items()}
    unknown = set(parameters or {}) - set(references)
    if unknown:
        raise TemplateError(f"{path} has no parameter {', '.join(sorted(unknown))}")
    resources: Mapping[str, Any] = document["Resources"]
    tables = [name for name, resource in resources.items() if resource["Type"] == "AWS::DynamoDB::Table"]
    streaming = [name for name in tables if "StreamSpecification" in resources[name]["Properties"]] or tables
    if len(streaming) != 1:
        raise TemplateError(f"{path} has {len(streaming)} tables that may be the registry, one was expected")
    [registry] = streaming
    references |= {**(parameters or {}), registry: table, f"{registry}.StreamArn": STREAM_ARN}
    others = {name: f"{table}-{name.lower()}" for name in tables if name != registry}
    buckets = {
        name: f"{table}-{name.lower()}" for name, resource in resources.items() if resource["Type"] == "AWS::S3::Bucket"
    }
    references |= others | buckets
    resolved = _resolve(resources, references)
    defaults = _resolve(document.get("Globals", {}), references).get("Function", {})
    properties = dict(resolved[registry]["Properties"])
    api: Mapping[str, Any] = next(
        (r["Properties"] for r in resolved.values() if r["Type"] == "AWS::Serverless::Api"), {}
    )
    return ControlPlane(
        table=_create_table(properties),
        other_tables={name: _create_table(resolved[logical]["Properties"]) for logical, name in others.items()},
        buckets=tuple(buckets.values()),
        ttl_attribute=properties.get("TimeToLiveSpecification", {}).get("AttributeName"),
        functions=tuple(
            _function(name, resource["Properties"], defaults, path.parent)
            for name, resource in resolved.items()
            if resource["Type"] == "AWS::Serverless::Function"
        ),
        stage=api.get("StageName", "live"),
        minimum_compression_size=api.get("MinimumCompressionSize"),
    )


def _resolve(value: Any, references: Mapping[str, str]) -> Any:  # a YAML value has no narrower type
    if isinstance(value, Intrinsic):
        return references.get(str(value.value), value) if value.name in ("Ref", "GetAtt") else value
    if isinstance(value, dict):
        return {key: _resolve(item, references) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, references) for item in value]
    return value


def _create_table(properties: Mapping[str, Any]) -> dict[str, Any]:
    names = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    # Capacity has no counterpart here.
    table = {"BillingMode": "PAY_PER_REQUEST", **{name: properties[name] for name in names if name in properties}}
    if stream := properties.get("StreamSpecification"):
        table["StreamSpecification"] = {"StreamEnabled": True, **stream}
    return table


def _function(name: str, own: Mapping[str, Any], defaults: Mapping[str, Any], root: Path) -> FunctionSpec:
    def setting(key: str, otherwise: Any = None) -> Any:
        return own.get(key, defaults.get(key, otherwise))

    variables: dict[str, str] = {}
    for part in (defaults, own):
        for key, value in part.get("Environment", {}).get("Variables", {}).items():
            if isinstance(value, Intrinsic):
                raise TemplateError(f"{name}: the variable {key} uses !{value.name}, which is not known here")
            variables[key] = str(value)
    patterns: list[Mapping[str, object]] = []
    routes: list[Route] = []
    every: float | None = None
    stream: StreamSource | None = None
    for kind, properties in _events(own):
        if kind == "EventBridgeRule":
            pattern.check(properties["Pattern"])
            patterns.append(properties["Pattern"])
        elif kind in ("Schedule", "ScheduleV2"):
            every = _rate(name, properties.get("Schedule", properties.get("ScheduleExpression")))
        elif kind == "DynamoDB":
            stream = _stream(properties)
        elif kind == "Api":
            free = properties.get("Auth", {}).get("Authorizer") == "NONE"
            routes.append(Route(properties["Method"].upper(), properties["Path"], free))
        else:
            raise TemplateError(f"{name}: an event of type {kind} is not known here")
    return FunctionSpec(
        name=name,
        handler=setting("Handler"),
        code=root / setting("CodeUri"),
        timeout=float(setting("Timeout", 3)),
        memory=int(setting("MemorySize", 128)),
        environment=variables,
        retries=int(setting("EventInvokeConfig", {}).get("MaximumRetryAttempts", 2)),
        keeps_failed="OnFailure" in setting("EventInvokeConfig", {}).get("DestinationConfig", {}),
        patterns=tuple(patterns),
        every=every,
        stream=stream,
        routes=tuple(routes),
    )


def with_stream(function: FunctionSpec, arn: str) -> FunctionSpec:
    """Return the function, with the ARN of the table's stream in the variables that want it."""
    environment = {name: arn if value == STREAM_ARN else value for name, value in function.environment.items()}
    return replace(function, environment=environment)


def _events(function: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for event in function.get("Events", {}).values():
        yield event["Type"], event["Properties"]


def _rate(name: str, expression: object) -> float:
    found = _RATE.fullmatch(str(expression))
    if not found:
        raise TemplateError(f"{name}: the schedule {expression!r} is not rate(N minutes)")
    return float(found[1]) * _SECONDS[found[2]]


def _stream(properties: Mapping[str, Any]) -> StreamSource:
    filters = [json.loads(f["Pattern"]) for f in properties.get("FilterCriteria", {}).get("Filters", [])]
    for condition in filters:
        pattern.check(condition)
    return StreamSource(
        batch_size=int(properties.get("BatchSize", 100)),
        retries=int(properties.get("MaximumRetryAttempts", -1)),
        bisect=bool(properties.get("BisectBatchOnFunctionError", False)),
        filters=tuple(filters),
    )
