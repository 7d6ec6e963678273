"""What a trial costs, at most. Prices of US East (N. Virginia), as in `infra.cost`."""

from __future__ import annotations

from typing import Final

from infra.cost import CUSTOM_METRICS, HOURS

VCPU_HOUR: Final = 0.04048  # Fargate, Linux on x86
GB_HOUR: Final = 0.004445
PUBLIC_ADDRESS_HOUR: Final = 0.005
TASKS: Final = 5
"""At most: a caller, and two tasks of orders beside the two that replace them."""
TASK_VCPU: Final = 0.25
TASK_GB: Final = 0.5
METRICS: Final = 200
"""Of the sidecars and the functions together, more than there are. CloudWatch prices them by the hour."""
REST: Final = 0.05
"""Dollars for what is cents even for a day: requests, reads, log lines, the build in S3."""


def dollars(seconds: float) -> float:
    """Return the most that a trial of this length costs; each begun hour of metrics counts whole."""
    hours = seconds / 3_600
    tasks = TASKS * hours * (TASK_VCPU * VCPU_HOUR + TASK_GB * GB_HOUR + PUBLIC_ADDRESS_HOUR)
    metrics = METRICS * CUSTOM_METRICS[0][1] / HOURS * (int(hours) + 2)
    return tasks + metrics + REST
