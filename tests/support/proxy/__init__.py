"""What tests put around the proxy.

- rig: its parts over a loop and sockets in memory (`fake_loop`), for unit tests
- stage: a sidecar as a real process with an API and backends (`sidecar`), for integration tests; `pair` has two
- task network: a network namespace with the rules of redirect mode
- attack, victim: clients and services that mean harm, and the client that must not feel it
- balancing: callers and endpoints in virtual time
"""

from __future__ import annotations
