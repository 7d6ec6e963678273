"""`tramo describe SERVICE`: all that the registry knows of a service."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from infra.cli.mesh import open_mesh
from infra.cli.tables import Column, paragraph, show

ENDPOINTS: Final = (
    Column("TASK", "task"),
    Column("ADDRESS", "address"),
    Column("ZONE", "zone"),
    Column("STATE", "state"),
    Column("DEFINITION", "task_definition"),
    Column("SINCE", "since"),
)
MOST_EVENTS: Final = 10


def run(options: argparse.Namespace) -> int:
    """Print the service."""
    mesh = open_mesh(options)
    namespace = mesh.namespace_of(options.service)
    service = mesh.api.service(namespace, options.service)
    policy, _ = mesh.api.policy(namespace, options.service)
    if options.output == "json":
        document = {"namespace": namespace, **service, "policy": policy}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return 0
    for name, value in facts(namespace, service, policy):
        paragraph(sys.stdout, value, f"{name + ':':<14} ", " " * 15)
    rows = [
        {**each, "task": str(each["id"])[:8], "address": f"{each['address']}:{each['port']}"}
        for each in service["endpoints"]
    ]
    if rows:
        sys.stdout.write("\n")
        show(sys.stdout, "table", ENDPOINTS, rows)
    for title, lines in (("Findings", findings(service)), ("Events", events(service))):
        if lines:
            sys.stdout.write(f"\n{title}:\n")
            for line in lines:
                paragraph(sys.stdout, line, "  ", "    ")
    return 0


def facts(namespace: str, service: Mapping[str, Any], policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what there is to say in a line each."""
    aliases = ", ".join(f"{each['dns_name']}:{each['port']}" for each in service["aliases"])
    found = [
        ("Name", service["name"]),
        ("Namespace", namespace),
        ("Protocol", service["protocol"]),
        ("Address", service["vip"]),
        ("Aliases", aliases or "none"),
        ("Revision", str(service["revision"])),
        ("ECS service", service["ecs_service"] or "none"),
        ("Owners", ", ".join(service["owners"]) or "none"),
    ]
    if service["allowed"]:
        found.append(("Allowed", ", ".join(service["allowed"])))
    found.append(("Policy", (json.dumps(policy) if policy else "defaults") + policy_age(service)))
    return found


def policy_age(service: Mapping[str, Any]) -> str:
    """Return which revision of the policy holds, and since when, as the end of a line."""
    if not service.get("policy_revision"):  # the API of an earlier release does not say
        return ""
    since = f", since {service['policy_since']}" if service["policy_since"] else ""
    return f" (revision {service['policy_revision']}{since})"


def findings(service: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the service, in a line each."""
    lines = [
        f"alias {each['dns_name']}:{each['port']} is {each['holder']}'s (TRM0201)" for each in service["conflicts"]
    ]
    lines += [
        f"alias {each['dns_name']}:{each['port']} is not allowed in the namespace (TRM0203)"
        for each in service["refused_aliases"]
    ]
    lines += [f"{each['claimant']} may not offer it: {each['reason']} (TRM0202)" for each in service["refused"]]
    seen: dict[str, str] = {}
    for each in service["findings"]:
        text = f"{each['code']} {each['where']}: {each['what']}; {each['remedy']}"
        seen.setdefault(text, str(each["task"])[:8])
    return lines + [f"{text} (task {task})" for text, task in seen.items()]


def events(service: Mapping[str, Any]) -> list[str]:
    """Return the latest events of the ECS service, newest first."""
    return [
        f"{each['at']} {each['event']}" + (f": {each['reason']}" if each["reason"] else "")
        for each in service["history"][:MOST_EVENTS]
    ]
