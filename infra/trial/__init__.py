"""A trial of the mesh in an AWS account: stack, cluster, two services, a deployment under load, and a report.

- trial: the steps, in order, and their undoing
- account: what they call; the rehearsal is one in which all goes well and nothing is made
- tally, report: what the caller saw
"""

from __future__ import annotations
