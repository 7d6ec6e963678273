"""A hanging ECS must not eat the time of a function."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.sweep import MARGIN_SECONDS
from registry.aws.clients import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, TOTAL_ATTEMPTS, open_lookups
from registry.aws.pacing import PacedEcs, TokenBucket
from tests.support.control_plane import aws, sam

# Between two attempts botocore's standard mode waits up to a second.
WORST_SECONDS = TOTAL_ATTEMPTS * (CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS) + (TOTAL_ATTEMPTS - 1) * 1.0


def lookups() -> Any:
    return open_lookups(aws.REGION)


@pytest.mark.parametrize("client", ["ecs", "_ec2"])
def test_both_clients_give_up_in_time(client: str) -> None:
    config = getattr(lookups(), client).meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 3)
    assert config.retries == {"mode": "standard", "total_max_attempts": TOTAL_ATTEMPTS}


def test_the_worst_call_ends_before_its_function() -> None:
    assert sam.functions()["Registrar"].timeout > WORST_SECONDS
    assert WORST_SECONDS < MARGIN_SECONDS


def test_the_rate_limit_is_the_callers_choice() -> None:
    assert not isinstance(lookups().ecs, PacedEcs)
    assert isinstance(open_lookups(aws.REGION, bucket=TokenBucket(10)).ecs, PacedEcs)
