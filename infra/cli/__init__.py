"""The `tramo` command.

- command: a subcommand; most are a module each, with their arguments in `commands` or `operators`
- mesh: the one that a command is about, local or of a stack; `infra.client` speaks to it
- table: how results are shown, or written as JSON
"""

from __future__ import annotations
