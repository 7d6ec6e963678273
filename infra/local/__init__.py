"""ECS and what is around it, on one machine: real task definitions, real events, the real handlers.

- machine: all that `tramo up` starts, in order; `control` is how commands reach it
- cluster, service, scheduler: what ECS keeps running
- definition, task, lifecycle, runner: what a task is made of, what happens to it, and who carries that out
- place, network, namespace, redirect: where a task's processes run, and how they reach each other
- event bus, pattern, stream, function: what brings ECS's events and the table's changes to the functions
- API gateway, metadata, ECS API, signature: what stands in for AWS's endpoints
"""

from __future__ import annotations
