"""Leaves secrets out of what is shown to others. Pure.

What a key calls a secret goes as a whole; in texts goes what looks like one. It is no proof: whoever sends a report
reads it first.
"""

from __future__ import annotations

import re
from typing import Any, Final

REMOVED: Final = "[removed]"
_KEY: Final = re.compile(
    r"secret|passw|token|credential|authorization|cookie|api[-_]?key|private[-_]?key|access[-_]?key", re.IGNORECASE
)
_TEXT: Final = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), REMOVED),  # ids of AWS access keys
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REMOVED}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REMOVED),  # JSON Web Tokens
    (re.compile(r"(?i)(aws4-hmac-sha256\s+)[^\n\"]+"), rf"\1{REMOVED}"),
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@:\"]+:[^\s/@\"]+@"), rf"\1{REMOVED}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REMOVED),
    (
        re.compile(
            r"(?i)([\w-]*(?:secret|passw(?:or)?d|token|api[-_]?key|access[-_]?key)[\w-]*[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&}]+"
        ),
        rf"\1{REMOVED}",
    ),
)


def text(value: str) -> str:
    """Return a text without what looks like a secret."""
    for pattern, replacement in _TEXT:
        value = pattern.sub(replacement, value)
    return value


def document(value: Any) -> Any:
    """Return a JSON value without secrets: those of variables (`name`, `value`), of keys, and in texts."""
    if isinstance(value, dict):
        name = value.get("name")
        hidden = isinstance(name, str) and _KEY.search(name) is not None
        return {
            key: REMOVED if _KEY.search(str(key)) or (hidden and key == "value") else document(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [document(each) for each in value]
    return text(value) if isinstance(value, str) else value
