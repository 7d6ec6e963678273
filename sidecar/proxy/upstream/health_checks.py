"""The active health checks of all services whose policy wants them.

Rules:
- Only ready endpoints are checked; who leaves that state, or the service, is forgotten, and begins again if it returns.
- At most `MAX_CONCURRENT` checks are under way; what is due meanwhile waits its turn, each endpoint once.
- A new policy counts from an endpoint's next check on.
- Checks use connections of their own, and count neither as requests nor towards the circuit breaker.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.core.meters import ClientMeter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.health_check import first_check, next_check
from sidecar.core.timers import Timed
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.health_probe import probe

MAX_CONCURRENT: Final = 64
"""Sockets that checks may hold: with all endpoints silent and a time-out of 2 s, 32 checks a second."""

log = logging.getLogger("tramo.health_check")

Probe = Callable[[Cluster, Endpoint], Awaitable[str]]
"""Checks an endpoint once, within the policy's time-out; returns why it failed, or nothing if it did not."""


class EndpointCheck(Timed):
    """The repeated check of one endpoint."""

    def __init__(self, checks: HealthChecks, cluster: Cluster, meter: ClientMeter, endpoint: Endpoint) -> None:
        Timed.__init__(self)
        self.cluster = cluster
        self.meter = meter
        self.endpoint = endpoint
        self.ended = False
        self.requests = 0  # of the service, when this endpoint was checked last
        self._checks = checks

    def on_deadline(self, now: float) -> None:
        """Begin the check that is due."""
        self._checks.due(self, now)


class HealthChecks:
    """All checks of this sidecar."""

    def __init__(self, runtime: Runtime, probe: Probe = probe) -> None:
        self._runtime = runtime
        self._probe = probe
        self._watched: dict[Cluster, dict[Endpoint, EndpointCheck]] = {}
        self._waiting: deque[EndpointCheck] = deque()
        self._running = 0

    def watch(self, cluster: Cluster, meter: ClientMeter) -> None:
        """Check what is to be checked, after a change of the cluster's endpoints or policy."""
        known = self._watched.get(cluster)
        if cluster.policy.health_check.protocol == "off":
            if known is not None:
                del self._watched[cluster]
                for check in known.values():
                    self._end(check)
            return
        if known is None:
            known = self._watched[cluster] = {}
        ready = {endpoint for endpoint in cluster.endpoints if endpoint.state == "ready"}
        for endpoint in [endpoint for endpoint in known if endpoint not in ready]:
            self._end(known.pop(endpoint))
        for endpoint in cluster.endpoints:
            if endpoint in ready and endpoint not in known:
                known[endpoint] = self._begin(cluster, meter, endpoint)
        if not known:
            del self._watched[cluster]

    def _begin(self, cluster: Cluster, meter: ClientMeter, endpoint: Endpoint) -> EndpointCheck:
        cluster.watch(endpoint, True)
        check = EndpointCheck(self, cluster, meter, endpoint)
        now, random = self._runtime.now(), self._runtime.random(16)
        self._runtime.wheel.schedule(check, first_check(cluster.policy.health_check, now, random))
        return check

    def _end(self, check: EndpointCheck) -> None:
        check.ended = True
        check.cluster.watch(check.endpoint, False)
        self._runtime.wheel.cancel(check)

    def due(self, check: EndpointCheck, now: float) -> None:
        """Check this endpoint as soon as there is room, if it is worth it."""
        checked, meter = check.endpoint.checked, check.meter
        requests = meter.requests
        if checked is None or not checked.is_wanted(now, requests != check.requests):
            self._schedule(check, now)
            return
        check.requests = requests
        self._waiting.append(check)
        self._start()

    def _schedule(self, check: EndpointCheck, now: float) -> None:
        policy = check.cluster.policy.health_check
        self._runtime.wheel.schedule(check, next_check(policy, now, self._runtime.random(16)))

    def _start(self) -> None:
        while self._waiting and self._running < MAX_CONCURRENT:
            check = self._waiting.popleft()
            if not check.ended:
                self._running += 1
                self._runtime.spawn(self._run(check), f"health check {check.endpoint.id}")

    async def _run(self, check: EndpointCheck) -> None:
        cluster = check.cluster
        try:
            failure = await self._probe(cluster, check.endpoint)
        finally:
            self._running -= 1
            if not check.ended:
                self._schedule(check, self._runtime.now())
        if not check.ended:
            self._judge(cluster, check.endpoint, failure)
        self._start()

    def _judge(self, cluster: Cluster, endpoint: Endpoint, failure: str) -> None:
        if cluster.check(endpoint, failure, self._runtime.now()):
            log.warning(
                "an endpoint fails its health checks" if failure else "an endpoint passes its health checks again",
                extra={"service": cluster.name, "endpoint": endpoint.id, "failure": failure},
            )
