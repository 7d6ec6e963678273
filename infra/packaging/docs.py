"""Writes the generated parts of docs/: what the code already says, said once.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. `python -m infra.packaging.docs` writes all parts
anew; a test fails when one differs.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from sidecar.admin.pages import PAGES
from sidecar.config import VARIABLES

DOCS = Path(__file__).parents[2] / "docs"
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def variables() -> str:
    """The sidecar's environment variables as a table."""
    rows = [f"| `{variable.name}` | {_default(variable.default)} | {variable.meaning} |\n" for variable in VARIABLES]
    return "| variable | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _default(value: str | None) -> str:
    if value is None:
        return "**required**"
    return f"`{value}`" if value else "empty"


def pages() -> str:
    """The admin pages as a table."""
    return "| page | shows |\n|---|---|\n" + "".join(f"| `{path}` | {shows} |\n" for path, shows in PAGES.items())


PARTS: dict[str, Callable[[], str]] = {"variables": variables, "pages": pages}


def render(text: str) -> str:
    """The page with its generated parts written anew. An unknown part is a KeyError."""
    return _PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], text)


def main() -> int:
    """Write every page that changed."""
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text()
        after = render(before)
        if after != before:
            path.write_text(after)
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
