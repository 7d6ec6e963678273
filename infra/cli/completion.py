"""`tramo completion bash|zsh`: a script that lets the shell complete commands and options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(script(options.shell, words(options.parser)))
    return 0


def words(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Return the options of every command; of "" the commands themselves."""
    found: dict[str, list[str]] = {"": []}
    for action in parser._actions:
        if isinstance(action.choices, Mapping):
            for name, made in action.choices.items():
                found[""].append(name)
                found[name] = sorted(word for each in made._actions for word in _words(each))
        else:
            found[""] += action.option_strings
    found[""].sort()
    return found


def _words(action: argparse.Action) -> Sequence[str]:
    chosen = [str(each) for each in action.choices or () if not action.option_strings]
    return [*action.option_strings, *chosen]


def script(shell: str, known: Mapping[str, Sequence[str]]) -> str:
    """Return the script for a shell."""
    cases = "".join(f"    {name}) words='{' '.join(options)}' ;;\n" for name, options in sorted(known.items()) if name)
    head = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{head}_tramo() {{
  local command=${{COMP_WORDS[1]}} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='{" ".join(known[""])}'
  else
    case "$command" in
{cases}    *) words='' ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _tramo tramo
"""
