"""The mesh that a command is about: a stack in AWS, an API by its address, or the local cluster."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.cli.control import ControlClient
from infra.client.api import ApiError, MeshApi
from infra.local.settings import LocalError, state_directory


@dataclass(frozen=True, slots=True)
class Mesh:
    """The API, the namespaces that were asked for, and what is known besides of the place.

    `local` is what the local cluster says of itself, `stack` the name of the stack in AWS; both None for an API alone.
    """

    api: MeshApi
    wanted: str | None
    local: Mapping[str, Any] | None = None
    stack: str | None = None
    region: str | None = None

    def namespaces(self) -> list[str]:
        """Return the namespaces to look at. Raises LocalError if the one that was asked for does not exist."""
        if not self.wanted:
            return self.api.namespaces()
        try:
            known = self.api.namespaces()
        except ApiError as error:
            if error.status != 403:  # who may read one namespace need not be allowed to list them
                raise
            return [self.wanted]
        if self.wanted not in known:
            raise LocalError(f"there is no namespace {self.wanted}{suggestion(self.wanted, known)}")
        return [self.wanted]

    def require_services(self, names: Iterable[str | None]) -> None:
        """Raise LocalError for the first name that no service has; None is passed over."""
        wanted = [each for each in names if each is not None]
        if not wanted:
            return
        known = sorted({one["name"] for each in self.namespaces() for one in self.api.services(each)})
        for name in wanted:
            if name not in known:
                raise LocalError(f"there is no service {name}{suggestion(name, known)}")

    def namespace_of(self, service: str) -> str:
        """Return the one namespace that has a service of this name. Raises LocalError for none or several."""
        if self.wanted:
            return self.namespaces()[0]
        names = self.api.namespaces()
        found = [each for each in names if any(one["name"] == service for one in self.api.services(each))]
        if len(found) == 1:
            return found[0]
        if not found:
            known = sorted({one["name"] for each in names for one in self.api.services(each)})
            raise LocalError(f"there is no service {service}{suggestion(service, known)}")
        raise LocalError(f"service {service} is in {', '.join(found)}; choose one with --namespace")


def open_mesh(options: argparse.Namespace) -> Mesh:
    """Return the mesh that a command's options name. Raises LocalError."""
    if options.stack:
        return Mesh(
            MeshApi.aws(_output(options.stack, options.region, "ApiUrl"), options.region),
            options.namespace,
            stack=options.stack,
            region=options.region,
        )
    if options.api_url:
        return Mesh(MeshApi.aws(options.api_url, options.region), options.namespace, region=options.region)
    status = control(options).status()
    return Mesh(MeshApi.local(status["api"]["url"], status["region"]), options.namespace, local=status)


def control(options: argparse.Namespace) -> ControlClient:
    """Return the client of the local cluster."""
    return ControlClient(directory(options) / "control.sock")


def directory(options: argparse.Namespace) -> Path:
    """Return where the local cluster keeps its files."""
    chosen: Path | None = options.state_dir
    return state_directory() if chosen is None else chosen.absolute()


def _output(stack: str, region: str | None, name: str) -> str:
    """Return an output of a stack. Raises LocalError."""
    from infra.client.stack import CONFIG, open_session

    try:
        client = open_session(region).client("cloudformation", config=CONFIG)
        stacks = client.describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        raise LocalError(f"stack {stack}: {error}") from error
    for output in stacks[0].get("Outputs", ()):
        if output.get("OutputKey") == name:
            return str(output["OutputValue"])
    raise LocalError(f"stack {stack} has no output {name}; is it the stack of template.yaml?")


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return what a word that is not known was probably meant to be, as the end of a sentence."""
    import difflib

    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f" (there are: {', '.join(known[:10])})" if known else ""
