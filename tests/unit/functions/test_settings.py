from __future__ import annotations

import pytest

from registry.domain.zone import Mode
from registry.settings import Settings, SettingsError

LEAST = {"TRAMO_TABLE": "registry", "AWS_REGION": "eu-west-1"}


def test_defaults() -> None:
    expected = Settings("registry", "eu-west-1", (), 5, 10, True, "", "", Mode.LISTEN, "", "", 1, "Tramo")
    assert Settings.from_environment(LEAST) == expected


def test_all() -> None:
    environment = LEAST | {"TRAMO_CLUSTERS": " a, arn:aws:ecs:x:1:cluster/b ,,", "TRAMO_POLL_SECONDS": "30"}
    environment |= {"TRAMO_ECS_CALLS_PER_SECOND": "15", "TRAMO_STREAM": "arn:aws:dynamodb:x:1:table/t/stream/1"}
    settings = Settings.from_environment(environment)
    assert settings.clusters == ("a", "arn:aws:ecs:x:1:cluster/b")
    assert (settings.poll_seconds, settings.ecs_calls_per_second) == (30, 15)
    assert settings.stream.endswith("/stream/1")
    assert Settings.from_environment(LEAST | {"TRAMO_MESH": "blue"}).mesh == "blue"


def test_the_hosted_zone() -> None:
    settings = Settings.from_environment(LEAST | {"TRAMO_HOSTED_ZONE": "Z1", "TRAMO_HOSTED_ZONE_MODE": "redirect"})
    assert (settings.hosted_zone, settings.hosted_zone_mode) == ("Z1", Mode.REDIRECT)
    with pytest.raises(SettingsError, match="TRAMO_HOSTED_ZONE_MODE is 'dns'; set listen or redirect"):
        Settings.from_environment(LEAST | {"TRAMO_HOSTED_ZONE_MODE": "dns"})


@pytest.mark.parametrize("name", ["TRAMO_TABLE", "AWS_REGION"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is not set; set it to"):
        Settings.from_environment({key: value for key, value in LEAST.items() if key != name})


@pytest.mark.parametrize("value", ["0", "301", "5s", "-5", "1.5"])
def test_the_poll_interval_has_bounds(value: str) -> None:
    with pytest.raises(SettingsError, match=r"TRAMO_POLL_SECONDS is .*; set a whole number from 1 to 300"):
        Settings.from_environment(LEAST | {"TRAMO_POLL_SECONDS": value})


@pytest.mark.parametrize("value", ["0", "101", "1.5", ""])
def test_the_rate_of_calls_has_bounds(value: str) -> None:
    with pytest.raises(SettingsError, match=r"TRAMO_ECS_CALLS_PER_SECOND is .*; set a whole number from 1 to 100"):
        Settings.from_environment(LEAST | {"TRAMO_ECS_CALLS_PER_SECOND": value})


def test_the_check_of_tasks_can_be_turned_off_and_not_misspelt() -> None:
    assert not Settings.from_environment(LEAST | {"TRAMO_TASK_IDENTITY": "off"}).checks_tasks
    with pytest.raises(SettingsError, match="TRAMO_TASK_IDENTITY is 'no'; set session or off"):
        Settings.from_environment(LEAST | {"TRAMO_TASK_IDENTITY": "no"})
