"""The CloudWatch dashboard that the stack brings with it.

- section, widget: the parts of the dashboard, of the data plane and of the control plane; the console shows the same
- alarm: a limit for a metric, as the template has it
- build: writes all of it into the template
"""

from __future__ import annotations
