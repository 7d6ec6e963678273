"""The data plane of tramo: one proxy process beside every ECS task."""

from __future__ import annotations

__version__ = "0.1.0"
