"""The share of the file descriptors that listeners leave to traffic."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys

import pytest

from sidecar.core.findings import cause
from sidecar.proxy.base.descriptors import LISTENERS_SHARE, check_listener

RAISED = """
import resource
from sidecar.proxy.base.descriptors import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))
raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    done = subprocess.run([sys.executable, "-c", RAISED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "(512, 512)\n"


def test_a_listener_that_would_take_what_traffic_needs_is_refused() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    check_listener(int(limit * LISTENERS_SHARE) - 1)
    with pytest.raises(OSError, match="file descriptors") as refused:
        check_listener(int(limit * LISTENERS_SHARE) + 1)
    assert refused.value.errno == errno.EMFILE
    assert "nofile" in cause(errno.EMFILE, 80)
