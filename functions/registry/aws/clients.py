"""botocore's clients of ECS, EC2, Route 53 and S3, with time-outs that end before a function does.

Rules:
1. The worst that one call can take is `TOTAL_ATTEMPTS` times both time-outs, and up to a second between the
   attempts: 9 seconds. botocore's own time-outs are 60 seconds each, so that an API which hangs would end as a
   function that was killed, without saying why.
2. Not boto3: its import alone is a third of a cold start, for nothing that is used here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from botocore.config import Config
from botocore.session import Session, get_session

from registry.aws.documents import Documents, S3Client
from registry.aws.ecs import Ec2Client, EcsClient, Lookups
from registry.aws.pacing import PacedEcs, TokenBucket
from registry.aws.route53 import Route53Client
from registry.domain.offer import DEFAULT_MESH

CONNECT_TIMEOUT_SECONDS: Final = 1
READ_TIMEOUT_SECONDS: Final = 3
TOTAL_ATTEMPTS: Final = 2
ZONE_ATTEMPTS: Final = 4
"""Of calls to Route 53, whose quota is small, and which refuses changes of one zone at the same time."""


def _config(attempts: int) -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )


@cache
def _session() -> Session:
    return get_session()


def _client(service: str, region: str, attempts: int = TOTAL_ATTEMPTS) -> Any:
    return _session().create_client(service, region_name=region, config=_config(attempts))


def open_lookups(region: str, mesh: str = DEFAULT_MESH, bucket: TokenBucket | None = None) -> Lookups:
    """Return lookups over botocore for the tasks of a mesh; with `bucket` the calls to ECS keep to its rate."""

    def ecs() -> EcsClient:
        plain: EcsClient = _client("ecs", region)
        return plain if bucket is None else PacedEcs(plain, bucket)

    def ec2() -> Ec2Client:
        client: Ec2Client = _client("ec2", region)
        return client

    return Lookups(ecs, ec2, mesh)


def open_route53(region: str) -> Callable[[], Route53Client]:
    """Return what makes the client of Route 53 when it is first asked for."""

    @cache
    def route53() -> Route53Client:
        client: Route53Client = _client("route53", region, ZONE_ATTEMPTS)
        return client

    return route53


def open_documents(bucket: str, region: str) -> Documents:
    """Return the whole documents in a bucket."""

    def s3() -> S3Client:
        client: S3Client = _client("s3", region)
        return client

    return Documents(bucket, s3)
