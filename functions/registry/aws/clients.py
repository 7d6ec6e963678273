"""botocore's clients of ECS and EC2, with time-outs that end before a function does.

Rules:
1. The worst that one call can take is `TOTAL_ATTEMPTS` times both time-outs, and up to a second between the
   attempts: 9 seconds. botocore's own time-outs are 60 seconds each, so that an API which hangs would end as a
   function that was killed, without a word of why.
2. Not boto3: its import alone is a third of a cold start, for nothing that is used here.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from botocore.config import Config
from botocore.session import Session, get_session

from registry.aws.ecs import Ec2Client, EcsClient, Lookups
from registry.aws.pacing import PacedEcs, TokenBucket

CONNECT_TIMEOUT_SECONDS: Final = 1
READ_TIMEOUT_SECONDS: Final = 3
TOTAL_ATTEMPTS: Final = 2

_CONFIG: Final = Config(
    connect_timeout=CONNECT_TIMEOUT_SECONDS,
    read_timeout=READ_TIMEOUT_SECONDS,
    retries={"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS},
)


@cache
def _session() -> Session:
    return get_session()


def _client(service: str, region: str) -> Any:
    return _session().create_client(service, region_name=region, config=_CONFIG)


def open_lookups(region: str, bucket: TokenBucket | None = None) -> Lookups:
    """Return lookups over botocore; with `bucket` the calls to ECS keep to its rate."""

    def ecs() -> EcsClient:
        plain: EcsClient = _client("ecs", region)
        return plain if bucket is None else PacedEcs(plain, bucket)

    def ec2() -> Ec2Client:
        client: Ec2Client = _client("ec2", region)
        return client

    return Lookups(ecs=ecs, ec2=ec2)
