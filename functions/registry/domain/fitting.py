"""A part of a snapshot that has grown too large: what of its changes still fits. Pure.

A service that cannot be published costs that service: it stays as it was published last, and the others of its
part go on. The largest change goes first, so that few services pay.
"""

from __future__ import annotations

from registry.domain.snapshot import Document, Part, compress, encode_part


def fit(part: Part, before: Part, most: int) -> tuple[Part, frozenset[str]]:
    """Return the part with those changes since `before` with which it has at most `most` bytes as it is stored.

    Returns the names of the services whose changes are left out, too; all of them, and the part as it was, when
    nothing fits. Nothing is left out of a part that fits.
    """
    services = dict(part.services)
    sizes = {name: _size(document) for name, document in services.items()}
    changed = [name for name in services if services[name] != before.services.get(name)]
    changed.sort(key=lambda name: (sizes[name], name))
    left_out: set[str] = set()
    # Services share less of what repeats than their sum says, so the sum is above what is stored.
    total = sum(sizes.values())
    while True:
        fitting = Part(services, {name: at for name, at in part.removed.items() if name not in services}, part.floor)
        if total <= most and len(encode_part(fitting)) <= most:
            return fitting, frozenset(left_out)
        if not changed:
            return before, frozenset(left_out | (before.services.keys() - services.keys()))
        name = changed.pop()
        left_out.add(name)
        total -= sizes[name]
        old = before.services.get(name)
        if old is None:
            del services[name]
        else:
            services[name] = old
            total += _size(old)


def _size(document: Document) -> int:
    return len(compress(document))
