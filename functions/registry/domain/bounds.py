"""How large the things may be that come from outside. Pure.

They are checked where they enter: labels in `label.py`, events and answers of ECS in `events.py` and
`service_events.py`. What breaks a bound is refused with a reason, or shortened where it is only for people to
read. AWS has bounds of its own for most of this; those here are what the registry can hold, whatever AWS does.
"""

from __future__ import annotations

import ipaddress
from typing import Final

# Labels
LABEL_BYTES: Final = 32 * 1024  # half of what a whole task definition may have
LABEL_DEPTH: Final = 16  # serviceConnectConfiguration needs 5; each level is a call of the parser
NAMESPACE_CHARACTERS: Final = 255  # part of all keys (a sort key has at most 1,024 bytes) and of default aliases
SERVICES_PER_TASK: Final = 20  # a task has at most 10 containers
ALIASES_PER_SERVICE: Final = 50  # claimed together, each with its own condition
QUOTED_CHARACTERS: Final = 100  # of a value that an error quotes

# Events and answers of ECS
ID_CHARACTERS: Final = 255  # of a task or an event, in a sort key; ECS's have 32 or 36
TEXT_CHARACTERS: Final = 2048  # of any text that is kept as it is, such as an ARN
REASON_CHARACTERS: Final = 500  # of what is only read by people; longer ones are shortened
SERVICE_PATH_CHARACTERS: Final = 511  # cluster/name of an ECS service, each of at most 255
LARGEST_VERSION: Final = 2**53  # exact in JSON, far below DynamoDB's 38 digits
LATEST_TIME: Final = 4_102_444_800.0  # 2100-01-01T00:00:00Z: milliseconds taken for seconds are far beyond


def is_time(epoch: float) -> bool:
    """Return whether epoch seconds are a time at which something of ECS can have happened."""
    return 0.0 <= epoch <= LATEST_TIME


def ip_address(text: str) -> str | None:
    """Return an address in its usual form, None when nobody can be reached there.

    No prefix length, no zone, no name: sidecars connect to it as it is.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.is_multicast or address.is_unspecified or "%" in text:
        return None
    return str(address)


def shortened(text: str, characters: int) -> str:
    """Return a text that is no longer than so many characters; what is missing shows as an ellipsis.

    Halves of surrogate pairs, which JSON can bring and nothing can store, are question marks.
    """
    text = text.encode(errors="replace").decode()
    return text if len(text) <= characters else text[: characters - 1] + "…"
