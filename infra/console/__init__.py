"""`tramo console`: what the mesh does now, who calls whom, and why something fails, as a page on this machine.

- reader: CloudWatch's metrics, and the registry by the API; the console makes its views of both
- view: all services, one service, or the mesh's own parts
- plot: a graph of the dashboard with its values
- live: what sidecars say now, asked for only while somebody looks
"""

from __future__ import annotations
