"""What the soak calls growth, and a short run of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.growth import ALLOWED, MIN_SAMPLES, Sample, growths

SECONDS = 12
STEADY = Sample(pss_kib=40_000, descriptors=40, tasks=3, timers=20)


def grown(samples: list[Sample]) -> set[str]:
    return {growth.measure for growth in growths(samples) if growth.too_much()}


def test_what_stays_the_same_does_not_grow() -> None:
    assert grown([STEADY] * 60) == set()


@pytest.mark.parametrize("measure", ALLOWED)
def test_what_rises_all_the_time_grows(measure: str) -> None:
    part, amount = ALLOWED[measure]
    start = getattr(STEADY, measure)
    step = max(1, round((start * part + amount) / 10))
    assert grown([replace(STEADY, **{measure: start + step * number}) for number in range(60)]) == {measure}


@pytest.mark.parametrize("measure", ALLOWED)
def test_what_rises_while_it_warms_up_does_not_grow(measure: str) -> None:
    cold = [replace(STEADY, **{measure: number}) for number in range(15)]
    assert grown(cold + [STEADY] * 45) == set()


@given(st.lists(st.integers(0, 59), max_size=5))
def test_a_few_high_samples_are_no_growth(places: list[int]) -> None:
    samples = [STEADY] * 60
    for place in places:
        samples[place] = Sample(pss_kib=100_000, descriptors=500, tasks=90, timers=900)
    assert grown(samples) == set()


def test_a_short_run_is_given_more() -> None:
    samples = [replace(STEADY, pss_kib=40_000 + 100 * number) for number in range(60)]
    assert grown(samples) == {"pss_kib"}
    assert not any(growth.too_much() for growth in growths(samples, slack=4.0))


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        growths([STEADY] * MIN_SAMPLES)


@pytest.mark.timeout(300)
def test_a_short_soak() -> None:
    command = [sys.executable, "-P", "-m", "tests.soak", "--seconds", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=path_of_this_process())
    assert done.returncode == 0, done.stdout + done.stderr


def path_of_this_process() -> dict[str, str]:
    """The environment, with the modules found where this process finds them: the sidecar may be a compiled one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
