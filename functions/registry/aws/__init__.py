"""Clients of the other AWS services.

- lookups: what is asked of ECS and EC2
- documents: the bucket of whole snapshots
- bucket, paced: how often ECS and Route 53 may be called
- clients: how all of them are made, with time-outs that end before a function does
"""

from __future__ import annotations
