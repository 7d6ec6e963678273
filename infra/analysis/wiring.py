"""What the sidecar of a task definition would find wrong in its own container: variables, redirection, hosts file.

Rules:
1. The sidecar's own rules judge, before it runs.
2. A value that comes with the task (a secret, a file of variables, a reference in a template) is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.analysis.documents import Later
from infra.client import findings

if TYPE_CHECKING:
    from sidecar.core.findings import Finding


@dataclass(frozen=True, slots=True)
class Environment:
    """The variables of a sidecar: those that are written, and the names of those that are known when the task runs."""

    written: Mapping[str, str]
    later: Set[str]

    def value(self, name: str, default: str) -> str | None:
        """Return what a variable is set to, None if that is known later."""
        return None if name in self.later else self.written.get(name) or default


def of_sidecar(task_definition: Mapping[str, Any], sidecar: Mapping[str, Any], label: str) -> Iterator[Finding]:
    """Yield what is wrong with a sidecar whose task has this label; it is empty if there is none."""
    environment = _environment(sidecar)
    yield from _of_variables(environment, label)
    yield from _of_namespace(task_definition, sidecar, environment)
    yield from _of_redirect(task_definition, sidecar, environment)
    yield from _of_hosts_file(sidecar, environment)


def _environment(sidecar: Mapping[str, Any]) -> Environment:
    from registry.domain.containers import entries, variables
    from sidecar.variables import VARIABLES

    written = variables(sidecar)
    later = {str(each.get("name")) for each in entries(sidecar, "secrets")}
    later |= {str(each.get("name")) for each in entries(sidecar, "environment") if isinstance(each.get("value"), Later)}
    if sidecar.get("environmentFiles"):
        later |= {variable.name for variable in VARIABLES} - written.keys()
    return Environment(written, later)


def _of_variables(environment: Environment, label: str) -> Iterator[Finding]:
    from sidecar import config
    from sidecar.core.findings import Finding, unknown_variables
    from sidecar.core.label import compared, read
    from sidecar.variables import VARIABLES

    yield from unknown_variables(environment.written, [variable.name for variable in VARIABLES])
    given = {"AWS_REGION": "later"}  # ECS says it, or the task's ARN
    if "TRAMO_API_URL" in environment.later:
        given["TRAMO_API_URL"] = "https://known.later"
    try:
        read_config = config.read({**environment.written, **given})
    except config.ConfigError as error:
        kind = findings.BAD_VARIABLE
        yield Finding(kind.code, kind.level, "sidecar's environment", str(error), kind.remedy)
        return
    told = read(label)
    if told is not None and ("TRAMO_INBOUND" in environment.written or "TRAMO_INBOUND" not in environment.later):
        inbound = {service.name: service.ingress_port for service in read_config.inbound}
        yield from compared(told, told.namespace, inbound)


def _of_namespace(
    task_definition: Mapping[str, Any], sidecar: Mapping[str, Any], environment: Environment
) -> Iterator[Finding]:
    """Yield a label that the sidecar cannot see: a container that waits for it does not exist as it starts."""
    from registry.domain.containers import entries, labels
    from registry.domain.label import CONFIGURATION_LABEL
    from sidecar.core.findings import Finding

    if environment.value("TRAMO_NAMESPACE", "") != "":
        return
    for each in task_definition["containerDefinitions"]:
        waits_for = [dependency.get("containerName") for dependency in entries(each, "dependsOn")]
        if CONFIGURATION_LABEL in labels(each) and sidecar.get("name") in waits_for:
            kind = findings.BAD_VARIABLE
            where = f"container {each.get('name')}, label {CONFIGURATION_LABEL}"
            what = "the container waits for the sidecar, which cannot see its label and ends: it has no TRAMO_NAMESPACE"
            yield Finding(kind.code, kind.level, where, what, "put the label on the sidecar's container")


def _of_redirect(
    task_definition: Mapping[str, Any], sidecar: Mapping[str, Any], environment: Environment
) -> Iterator[Finding]:
    from registry.domain.advice import is_redirected
    from sidecar.core.findings import NO_REDIRECT, WARNING, Finding

    address = environment.value("TRAMO_REDIRECT", "off")
    name = sidecar.get("name")
    if address is None or is_redirected(task_definition) == (address != "off"):
        return
    if address != "off":
        what = f"TRAMO_REDIRECT is {address}, and no proxyConfiguration sends calls to {name}: it never gets ready"
        yield Finding(NO_REDIRECT.code, NO_REDIRECT.level, "proxyConfiguration", what, NO_REDIRECT.remedy)
        return
    what = f"it sends calls to {name}, which listens on each address itself, since TRAMO_REDIRECT is not set"
    remedy = "set TRAMO_REDIRECT as `tramo inject --redirect` does, or remove proxyConfiguration"
    yield Finding(NO_REDIRECT.code, WARNING, "proxyConfiguration", what, remedy)


def _of_hosts_file(sidecar: Mapping[str, Any], environment: Environment) -> Iterator[Finding]:
    """Yield why the names cannot be written. It is a warning: the app may find them in another way (docs/names.md)."""
    from sidecar.core.findings import HOSTS_NOT_WRITTEN, WARNING, Finding

    hosts_file = "/etc/hosts"
    if environment.value("TRAMO_HOSTS_FILE", hosts_file) != hosts_file:
        return
    user = sidecar.get("user")
    if sidecar.get("readonlyRootFilesystem") in (True, "true"):
        where, what = (
            "readonlyRootFilesystem",
            f"{hosts_file} is read-only too, so the sidecar cannot write names there",
        )
    elif isinstance(user, str) and user and user.partition(":")[0] not in ("0", "root"):
        where, what = "user", f"only root can write names to {hosts_file}, and the sidecar is user {user}"
    else:
        return
    where = f"container {sidecar.get('name')}, {where}"
    yield Finding(HOSTS_NOT_WRITTEN.code, WARNING, where, what, HOSTS_NOT_WRITTEN.remedy)
