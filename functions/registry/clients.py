"""boto3's clients of ECS and EC2, with time-outs that end before a function does.

Rule: the worst that one call can take is `TOTAL_ATTEMPTS` times both time-outs, and up to a second between
the attempts: 9 seconds. boto3's own time-outs are 60 seconds each, so that an API which hangs would end as a
function that was killed, without a word of why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config

from registry.ecs import Ec2Client, EcsClient, Lookups
from registry.pacing import PacedEcs, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_SECONDS: Final = 1
READ_TIMEOUT_SECONDS: Final = 3
TOTAL_ATTEMPTS: Final = 2

_CONFIG: Final = Config(
    connect_timeout=CONNECT_TIMEOUT_SECONDS,
    read_timeout=READ_TIMEOUT_SECONDS,
    retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
)


def open_lookups(region: str, bucket: TokenBucket | None = None) -> Lookups:
    """Return lookups over boto3; with `bucket` the calls to ECS keep to its rate."""

    def plain_ecs() -> EcsClient:
        return boto3.client("ecs", region_name=region, config=_CONFIG)

    def paced_ecs(bucket: TokenBucket) -> Callable[[], EcsClient]:
        return lambda: PacedEcs(plain_ecs(), bucket)

    def ec2() -> Ec2Client:
        client: Ec2Client = boto3.client("ec2", region_name=region, config=_CONFIG)
        return client

    return Lookups(ecs=plain_ecs if bucket is None else paced_ecs(bucket), ec2=ec2)
