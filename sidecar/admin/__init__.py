"""What the sidecar says of itself, on loopback only.

- page, action: what may be read, and what may be posted; `pages` makes them as values
- server: the port
"""

from __future__ import annotations
