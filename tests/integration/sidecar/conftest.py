"""One sidecar for all tests that do not end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.proxy.sidecar import Stage
from tests.support.proxy.sidecar import stage as open_stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A namespace with one ready sidecar. Tests give their services names of their own."""
    with open_stage(tmp_path_factory.mktemp("sidecar")) as found:
        yield found
