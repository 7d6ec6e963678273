"""What a task definition offers to the mesh. Pure.

Rules:
1. A task definition is immutable, so what is read here holds for every task of the revision.
2. The docker label `tramo.service-connect` on any one container holds the JSON of ECS's own
   `serviceConnectConfiguration`. Without it the task definition is not ours and `parse` returns None.
3. The docker label `tramo.sidecar: "true"` marks the container that is our proxy. With one, a service is
   published on the sidecar's ingress port (`ingressPortOverride`, else 15100 plus the index of the service in
   the list), without one on the container's port.
4. The docker label `tramo.gate: "true"` marks the container whose health says that callers know the task. That is
   more than the endpoints' own health, and follows from it, so it never counts for it.
5. `"standalone": true` in the configuration, a field of ours: tasks offer their services though no ECS service
   started them. Without it a migration that RunTask starts from a service's definition would get its traffic.
6. `"mesh"` in the configuration, a field of ours, names the stack that the tasks belong to, by its parameter Mesh. What
   another stack's label says besides is that stack's to judge.
7. A field of another form than ECS's is a mistake only of a file (`infra.analysis`): ECS does not take it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from registry.domain.containers import kind_of, labels
from registry.domain.label import CONFIGURATION_LABEL, LabelReader
from registry.domain.offer import Definition, DefinitionError

SIDECAR_LABEL: Final = "tramo.sidecar"
GATE_LABEL: Final = "tramo.gate"

_NUMBER: Final = re.compile(r"\d{1,6}(\.\d+)?")
_FORMS: Final = {"healthCheck": "an object", "portMappings": "a list", "environment": "a list"}

# Service Connect sends traffic after at most 8 minutes of UNKNOWN health
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-connect-concepts.html).
LONGEST_HEALTH_WAIT_SECONDS: Final = 480.0


def short_name(task_definition_arn: str) -> str:
    """Return family:revision of a task definition's ARN."""
    return task_definition_arn.rpartition("/")[2]


def sidecar_of(task_definition: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the container that is marked as the sidecar."""
    return next((each for each in _containers(task_definition) if labels(each).get(SIDECAR_LABEL) == "true"), None)


def apps_of(task_definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the containers that are not the sidecar."""
    return [each for each in _containers(task_definition) if labels(each).get(SIDECAR_LABEL) != "true"]


def _containers(task_definition: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return task_definition.get("containerDefinitions") or ()


def parse(task_definition: Mapping[str, Any], mesh: str | None = None) -> Definition | None:
    """Return what DescribeTaskDefinition's `taskDefinition` offers, None when it has no label of ours.

    With `mesh` only task definitions of that mesh are ours, without it those of all.

    Raises DefinitionError for a label with a mistake.
    """
    arn = str(task_definition.get("taskDefinitionArn", ""))
    name = short_name(arn)
    containers = _containers(task_definition)
    for container in containers:
        _check_form(name, container, "dockerLabels", "an object")
    labelled = [c for c in containers if CONFIGURATION_LABEL in labels(c)]
    if not labelled:
        return None
    for container in containers:
        for field, form in _FORMS.items():
            _check_form(name, container, field, form)
    if len(labelled) > 1:
        raise DefinitionError(
            name,
            None,
            f"label {CONFIGURATION_LABEL}",
            "it stands on " + " and ".join(str(c.get("name")) for c in labelled),
            "keep it on one container only",
        )
    sidecars = [c for c in containers if _is_marked(name, c, SIDECAR_LABEL, "the sidecar")]
    if len(sidecars) > 1:
        raise DefinitionError(
            name,
            None,
            f"label {SIDECAR_LABEL}",
            "more than one container is marked as the sidecar: " + ", ".join(str(c.get("name")) for c in sidecars),
            "mark one container only",
        )
    reader = LabelReader(name, labelled[0], containers, sidecars[0] if sidecars else None)
    configuration = reader.configuration()
    if not reader.flag(configuration, "enabled", absent=True):
        return None
    own_mesh = reader.mesh(configuration)
    if mesh is not None and own_mesh != mesh:
        return None
    namespace = reader.namespace(configuration)
    # ECS's own default is bridge for tasks on EC2; Fargate demands that awsvpc is written out.
    network_mode = str(task_definition.get("networkMode") or "bridge")
    checks = {
        str(c.get("name")): c["healthCheck"]
        for c in containers
        if c.get("essential", True) and c.get("healthCheck") and not _is_marked(name, c, GATE_LABEL, "the gate")
    }
    return Definition(
        arn=arn,
        name=name,
        namespace=namespace,
        network_mode=network_mode,
        has_sidecar=bool(sidecars),
        offers=reader.offers(configuration, namespace, network_mode),
        health_wait_seconds=_health_wait(checks.values()),
        health_checked=tuple(checks),
        standalone=reader.flag(configuration, "standalone", absent=False),
        role=task_definition.get("taskRoleArn") or None,
        mesh=own_mesh,
    )


def _check_form(name: str, container: Mapping[str, Any], field: str, form: str) -> None:
    value = container.get(field)
    if not value:
        return
    if kind_of(value) != form:
        raise DefinitionError(name, container.get("name"), field, f"{kind_of(value)} instead of {form}", _remedy(field))
    if form == "a list" and (wrong := [each for each in value if not isinstance(each, Mapping)]):
        mistake = f"it has {kind_of(wrong[0])} where an object should be"
        raise DefinitionError(name, container.get("name"), field, mistake, _remedy(field))


def _remedy(field: str) -> str:
    return f"write {field} as RegisterTaskDefinition takes it"


def _is_marked(name: str, container: Mapping[str, Any], label: str, what: str) -> bool:
    value = labels(container).get(label)
    if value in (None, "false"):
        return False
    if value == "true":
        return True
    raise DefinitionError(
        name,
        container.get("name"),
        f"label {label}",
        f"{value!r} is neither true nor false",
        f'write "true" on the container that is {what} and leave it out elsewhere',
    )


def _health_wait(checks: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the longest time that one of these health checks may need, capped at 8 minutes; None without any."""
    waits = [
        _number(check, "startPeriod", 0)
        + _number(check, "retries", 3) * (_number(check, "interval", 30) + _number(check, "timeout", 5))
        for check in checks
    ]
    return min(max(waits), LONGEST_HEALTH_WAIT_SECONDS) if waits else None


def _number(check: Mapping[str, Any], field: str, default: float) -> float:
    """Return a number of a health check, or ECS's default. A template may have a reference in its place."""
    value = str(check.get(field) or default)
    return float(value) if _NUMBER.fullmatch(value) else default
