"""What nobody uses any more, and when it goes. Pure.

Rules:
1. A service is idle while no living task may offer it. One that has been idle for `IDLE_SECONDS` goes, with its owners
   and aliases, and its name is free: a weekend, or a service that is scaled to nothing for some days, keeps all.
2. What an operator has said of a service (a policy, others that may offer it) is not thrown away: such a service stays
   until it is forgotten by hand.
3. The virtual address of a service that went belongs to nobody else for `QUARANTINE_SECONDS`: apps may have looked it
   up. A service of the same name that returns has it again.
4. A namespace without tasks, services and rules goes when no task has joined it for `EMPTY_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.domain.claims import Living
from registry.domain.service import ServiceRecord

IDLE_SECONDS: Final = 7 * 24 * 3600.0
QUARANTINE_SECONDS: Final = 24 * 3600.0
EMPTY_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Idleness:
    """The services that have no task any more, those that have one again, and those that go."""

    begins: tuple[ServiceRecord, ...]
    ends: tuple[ServiceRecord, ...]
    over: tuple[ServiceRecord, ...]

    def __bool__(self) -> bool:
        return bool(self.begins or self.ends or self.over)


def idleness(services: Mapping[str, ServiceRecord], living: Living, now: float) -> Idleness:
    """Return the services whose idleness changes (rules 1 and 2), by name."""
    alive = {name for name, _ in living}
    found = [service for _, service in sorted(services.items())]
    idle = [service for service in found if service.name not in alive]
    return Idleness(
        begins=tuple(service for service in idle if service.idle_since is None),
        ends=tuple(service for service in found if service.name in alive and service.idle_since is not None),
        over=tuple(
            service
            for service in idle
            if service.idle_since is not None
            and now - service.idle_since >= IDLE_SECONDS
            and not service.policy
            and not service.allowed
        ),
    )


def most_recent_use(created_at: float | None, joined_at: float | None) -> float:
    """Return when a namespace was last of use, from what its item says."""
    return max(created_at or 0.0, joined_at or 0.0)
