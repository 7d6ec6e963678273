"""The function behind the REST API: snapshots for sidecars, services and policies for people and tools.

- route: a method and a path in `app`; `openapi` and `body_schemas` describe it
- request, report, question: what comes in, and is checked
- answer, problem: what goes out; `reading` makes it of the published snapshots
"""

from __future__ import annotations
