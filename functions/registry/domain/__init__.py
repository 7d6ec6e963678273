"""Parsing, rules and documents of the registry: values in, values out, no clock and no IO.

- event, definition, label, offer: what ECS says of a task, and what the task offers to the mesh
- record: what the registry keeps of a task or a service; `rules` and `service` say what becomes of it
- owner, claim: whose a service's name is, and which names must change hands
- finding, advice, report: what is wrong, with a task or with a definition, and what a sidecar says of it
- snapshot, part, changes: the published document, the pieces in which it is stored, and what changed in one
- lineage, feed: which snapshot a reader has, and how sidecars read the next one by themselves
- question: what operators ask sidecars
- zone: the records of a private hosted zone
- leftover: what nobody uses any more
"""

from __future__ import annotations
