"""What is wrong with a mesh, from all who see it: the registry's findings, and what only a command can see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

DOCUMENTATION: Final = "docs/findings.md"
ERROR: Final = "error"
WARNING: Final = "warning"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding that commands make: its code, and what there is to say of every one."""

    code: str
    level: str
    meaning: str
    remedy: str


API_AWAY: Final = Kind(
    "TRM0401",
    ERROR,
    "the API cannot be reached, or refuses",
    "Check the address, credentials and the log of the Api function. Sidecars go on with their last snapshot.",
)
NO_ENDPOINT: Final = Kind(
    "TRM0402",
    ERROR,
    "no endpoint of a service is ready; every call of it fails",
    "See `tramo endpoints SERVICE` and `tramo describe SERVICE`: its tasks start, fail, or are unhealthy.",
)
DEAD_LETTERS: Final = Kind(
    "TRM0403",
    ERROR,
    "events failed in a function and wait as dead letters",
    "See the function's log for the cause, then `tramo redrive`.",
)
RULE_OFF: Final = Kind(
    "TRM0404",
    ERROR,
    "the rule that brings events of ECS to the registrar is disabled, or is not there",
    "Enable it: `aws events enable-rule`; the reconciler repairs what was missed within a minute or two.",
)
TASKS_FAIL: Final = Kind(
    "TRM0405",
    ERROR,
    "tasks of a service fail again and again",
    "See the log that the finding names, or `tramo logs SERVICE`.",
)
FUNCTION_FAILS: Final = Kind(
    "TRM0406",
    ERROR,
    "a function of the stack has failed of late",
    "See its log group; what failed comes again, or ends as a dead letter.",
)
NO_NAMESPACE: Final = Kind(
    "TRM0407",
    WARNING,
    "no task has joined the mesh yet",
    "Put the label tramo.service-connect on a container of a task definition, or let `tramo inject` do it.",
)
BAD_VARIABLE: Final = Kind(
    "TRM0408",
    ERROR,
    "a variable of the sidecar has a value that the sidecar refuses; it ends at its start",
    "Correct the value; docs/configuration.md has all variables.",
)
CALLS_FAIL: Final = Kind(
    "TRM0409",
    ERROR,
    "more than half of the calls of a service failed in the last minute",
    "See `tramo why SRC DST` for the way of a call, and `tramo logs SERVICE` if the app itself answers with 5xx.",
)
SOME_CALLS_FAIL: Final = Kind(
    "TRM0410",
    WARNING,
    "more than one in a hundred calls of a service failed in the last minute",
    "See `tramo why SRC DST` for the way of a call, and `tramo logs SERVICE` if the app itself answers with 5xx.",
)
SILENT: Final = Kind(
    "TRM0411",
    WARNING,
    "sidecars have not answered in time",
    "Their tasks may just start or stop; else see their logs, `tramo logs TASK --container sidecar`.",
)
STALE: Final = Kind(
    "TRM0412",
    WARNING,
    "sidecars have an old snapshot: they have not read the registry for three intervals",
    "They route by what they know. See TRM0309, and `tramo logs TASK --container sidecar`.",
)
VERSIONS: Final = Kind(
    "TRM0413",
    WARNING,
    "sidecars of one namespace have several versions",
    "It ends with the rollout that changes them; else deploy the services with the older image anew (docs/upgrade.md).",
)
NOT_READY: Final = Kind(
    "TRM0414",
    ERROR,
    "something is missing to deploy the stack from this machine (`tramo check --pre`)",
    "Install what is missing, sign in with `aws sso login`, or ask for the action that the finding names.",
)
SAME_NAME: Final = Kind(
    "TRM0415",
    WARNING,
    "services of one name are in several namespaces of the mesh: their metrics are one in CloudWatch",
    "Metrics have the dimensions of Service Connect's, and the namespace is none of them. Give one of them another "
    "discoveryName (its alias may stay), or its namespace a stack with another Mesh.",
)
NO_SERVICE: Final = Kind(
    "TRM0416",
    ERROR,
    "the service that was asked for (`tramo check --service`) is not in the mesh",
    "Correct the name, see `tramo services`; or deploy a task with the label tramo.service-connect that offers it.",
)
KINDS: Final = tuple(each for each in tuple(globals().values()) if isinstance(each, Kind))
"""All of them, in the order above."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding as commands show it. `namespace` is empty for one that is in none."""

    code: str
    level: str
    resource: str
    where: str
    what: str
    remedy: str
    namespace: str = ""
    since: str = ""

    @classmethod
    def of_api(cls, document: Mapping[str, Any], namespace: str = "") -> Finding:
        """Return a finding of the API."""
        names = ("code", "level", "resource", "where", "what", "remedy", "since")
        return cls(**{name: str(document[name]) for name in names}, namespace=namespace)

    @property
    def anchor(self) -> str:
        """Where the documentation has its kind."""
        return f"{DOCUMENTATION}#{self.code.lower()}"

    @property
    def order(self) -> tuple[bool, str, str, str]:
        """Errors first, then by code and resource."""
        return self.level != ERROR, self.code, self.resource, self.where


def made(kind: Kind, resource: str, where: str, what: str, remedy: str = "", namespace: str = "") -> Finding:
    """Return a finding of a command."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Finding(kind.code, kind.level, resource, where, what, remedy or kind.remedy, namespace, now)
