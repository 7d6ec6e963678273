"""Task definitions in files: of ECS itself, CloudFormation and CDK templates, and Terraform plans.

All of them come out in the form of DescribeTaskDefinition. What a template leaves to the time of its deployment (a
parameter without a default, an attribute of a resource) stands as the name of what is referred to, a `Later`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local.settings import LocalError

LARGEST_BYTES: Final = 32 * 1024 * 1024
"""A plan of a whole estate has a few MB."""
MOST_FILES: Final = 1000
SUFFIXES: Final = (".json", ".yaml", ".yml", ".template")


class Later(str):
    """A text of a template whose value its deployment gives; until then it names what is referred to."""

    __slots__ = ()


class InputError(LocalError):
    """A file cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Document:
    """One task definition: as ECS would describe it, and the file and text that it comes from."""

    task_definition: Mapping[str, Any]
    path: Path
    text: str

    @property
    def name(self) -> str:
        """family:revision, with revision 0: it is not registered yet."""
        return str(self.task_definition["taskDefinitionArn"]).rpartition("/")[2]

    def place(self, *needles: str) -> str:
        """Return the file, with the line where the first of these texts stands that is found."""
        for needle in needles:
            at = self.text.find(needle) if needle else -1
            if at >= 0:
                return f"{self.path}:{self.text.count(chr(10), 0, at) + 1}"
        return str(self.path)


def read(paths: list[Path]) -> list[Document]:
    """Return the task definitions in files and folders. Raises InputError."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES and each.is_file())
        else:
            files.append(path)
    if len(files) > MOST_FILES:
        raise InputError(f"{len(files)} files are too many; name a folder with at most {MOST_FILES}")
    in_folders = {each for each in files if each not in paths}
    return [document for path in files for document in _of_file(path, path in in_folders)]


def _of_file(path: Path, is_guess: bool) -> Iterator[Document]:
    """Yield the task definitions of a file. One that a folder brought along may be anything, and is left out then."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path}: it has more than {LARGEST_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        content = _parse(path, text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: it is no text: {error.reason}") from error
    found = [_finished(each, family) for family, each in _definitions(content)]
    if not found and not is_guess:
        raise InputError(
            f"{path}: there is no task definition in it; it should be what register-task-definition takes, a template "
            "of CloudFormation or CDK, or the JSON of a Terraform plan"
        )
    yield from (Document(each, path, text) for each in found)


def _parse(path: Path, text: str) -> Any:
    if path.suffix in (".yaml", ".yml"):
        return _yaml(path, text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if path.suffix == ".template":
            return _yaml(path, text)
        raise InputError(f"{path}: {error}") from error


def _yaml(path: Path, text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML with CloudFormation's short forms: !Ref, !Sub and the others."""

    def short(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> Any:
        value: Any
        if isinstance(node, yaml.ScalarNode):
            value = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
        return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}

    Loader.add_multi_constructor("!", short)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - derived from SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error


def _definitions(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the task definitions in a document, with the name by which the document has them."""
    if not isinstance(content, Mapping):
        return
    if isinstance(content.get("taskDefinition"), Mapping):
        content = content["taskDefinition"]
    if isinstance(content.get("containerDefinitions"), list):
        yield str(content.get("family") or "task"), dict(content)
    elif isinstance(content.get("Resources"), Mapping):
        yield from _of_template(content)
    elif isinstance(content.get("planned_values"), Mapping):
        yield from _of_plan(content["planned_values"].get("root_module") or {})


def _of_template(template: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    parameters = template.get("Parameters") or {}
    defaults = {name: each.get("Default", name) for name, each in parameters.items() if isinstance(each, Mapping)}
    for name, resource in template["Resources"].items():
        if isinstance(resource, Mapping) and resource.get("Type") == "AWS::ECS::TaskDefinition":
            properties = _resolved(resource.get("Properties") or {}, defaults)
            yield name, _small(properties) if isinstance(properties, Mapping) else {}


def _resolved(value: Any, defaults: Mapping[str, Any]) -> Any:
    """Return a value of a template with its functions worked out as far as the template goes."""
    if isinstance(value, list):
        return [_resolved(each, defaults) for each in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) != 1 or not (key := next(iter(value))).startswith(("Ref", "Fn::")):
        return {name: _resolved(each, defaults) for name, each in value.items()}
    argument = _resolved(value[key], defaults)
    match key, argument:
        case "Ref", str(name):
            return _later(defaults.get(name, name))
        case "Fn::Sub", str(text):
            return _substituted(text, defaults)
        case "Fn::Sub", [str(text), dict(more)]:
            return _substituted(text, {**defaults, **more})
        case "Fn::Join", [str(separator), list(parts)]:
            joined = separator.join(str(part) for part in parts)
            return Later(joined) if any(isinstance(part, Later) for part in parts) else joined
        case "Fn::GetAtt", [str(resource), *_]:
            return Later(resource)
        case "Fn::GetAtt", str(attribute):
            return Later(attribute.partition(".")[0])
        case "Fn::If", [_, first, _]:
            return _later(first)
    return Later(key.removeprefix("Fn::"))


def _later(value: Any) -> Any:
    return Later(value) if isinstance(value, str) else value


def _substituted(text: str, values: Mapping[str, Any]) -> str:
    result = re.sub(r"\$\{([^!}][^}]*)\}", lambda match: str(values.get(match[1], match[1])), text)
    return Later(result) if result != text else text


_NAMED_BY_PEOPLE: Final = ("DockerLabels", "Options", "Labels", "DriverOpts")


def _small(value: Any) -> Any:
    """Return CloudFormation's properties under the names of ECS's API, which begin small; labels stay."""
    if isinstance(value, list):
        return [_small(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name[:1].lower() + name[1:]: each if name in _NAMED_BY_PEOPLE else _small(each) for name, each in value.items()
    }


def _of_plan(module: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for resource in module.get("resources") or ():
        if resource.get("type") != "aws_ecs_task_definition":
            continue
        values = resource.get("values") or {}
        try:
            containers = json.loads(values.get("container_definitions") or "[]")
        except ValueError:
            containers = []
        proxies = values.get("proxy_configuration") or ()
        yield (
            str(values.get("family") or resource.get("name")),
            {
                "family": values.get("family"),
                "networkMode": values.get("network_mode"),
                "taskRoleArn": values.get("task_role_arn"),
                "containerDefinitions": containers,
                **({"proxyConfiguration": _proxy_of_plan(proxies[0])} if proxies else {}),
            },
        )
    for child in module.get("child_modules") or ():
        yield from _of_plan(child)


def _proxy_of_plan(block: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": block.get("type") or "APPMESH", "containerName": block.get("container_name")}


def _finished(definition: dict[str, Any], name: str) -> dict[str, Any]:
    family = definition.get("family")
    containers = definition.get("containerDefinitions")
    return {
        **definition,
        "containerDefinitions": [_container(each) for each in containers or () if isinstance(each, Mapping)],
        "taskDefinitionArn": f"file/{family if isinstance(family, str) and family else name}:0",
    }


def _container(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a container without fields that are known later as a whole, such as labels from a mapping."""
    return {name: value for name, value in container.items() if name == "name" or not isinstance(value, Later)}
