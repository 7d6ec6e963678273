"""What the sidecar need not load: it costs memory in each task."""

from __future__ import annotations

import os
import subprocess
import sys

# Each was loaded once, or is next to what is imported and large.
HEAVY = (
    "boto3",
    "botocore.client",
    "botocore.docs",
    "botocore.handlers",
    "botocore.loaders",
    "botocore.session",
    "jmespath",
    "multiprocessing",
)
SCRIPT = """
import sys
import sidecar.run
from sidecar.credentials import TaskCredentials
TaskCredentials().current()
print(*sys.modules, sep=chr(10))
"""


def test_a_sidecar_that_has_its_credentials_has_loaded_nothing_heavy() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    loaded = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, **keys, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.split()
    assert "sidecar.run" in loaded
    assert [module for module in HEAVY if module in loaded] == []
