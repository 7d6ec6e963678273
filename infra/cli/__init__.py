"""The `tramo` command.

- command: a subcommand; most are a module each, with their arguments in `main` or `operators`
- mesh: the one that a command is about, local or of a stack; `api` speaks to its API
- finding: what `check` and `analyze` see, and what to do about it
- question, answer: what sidecars are asked through the registry, as by `tap`, `stat` and `proxies`
- table: how results are shown, or written as JSON
"""

from __future__ import annotations
