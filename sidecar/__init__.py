"""The data plane of tramo: one proxy process beside every ECS task."""

__version__ = "0.1.0"
