"""The function that compares the registry with ECS.

- sweep: one look at all of ECS, which repairs what lost events left behind
- publication: the repair of what is published
- finding: what a sweep sees that is wrong
- leftover: what nobody uses any more, and is removed
"""

from __future__ import annotations
