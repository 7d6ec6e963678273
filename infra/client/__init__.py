"""What the command, the console and the trial have in common: how they speak to a mesh and to its stack.

- api: the client of the mesh's API, whose requests are signed
- question, answer: what sidecars are asked through the registry
- request: one of a service's, by its head, as sidecars send them while somebody looks
- finding: what `check` and `analyze` see, and what to do about it
- stack: the mesh in an AWS account, and the session that asks for it
"""

from __future__ import annotations
