"""Where a listener sends traffic: a cluster's rules with the connections that carry it.

Rules:
- One pool per endpoint, made when the endpoint is first used and dropped with the endpoint. It speaks the endpoint's
  protocol, whatever the client speaks: a rollout that changes the protocol has both kinds of endpoints for a while.
- What the callers of this task's app see is counted by the callers: nobody reads the client meter of that destination,
  and its failures are counted in the server meter.
"""

from __future__ import annotations

from collections.abc import Callable

from sidecar.core.meters import ClientMeter, Meter
from sidecar.core.routing.cluster import Cluster
from sidecar.core.routing.endpoint import Endpoint
from sidecar.core.routing.policy import LOCAL_APP
from sidecar.core.snapshot import EndpointRecord, ServiceRecord
from sidecar.core.states import AppProtocol
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.upstream.health_checks import HealthChecks
from sidecar.proxy.upstream.http1_pool import APP_IDLE_SECONDS, MESH_IDLE_SECONDS, Http1Pool
from sidecar.proxy.upstream.http2_pool import Http2Pool
from sidecar.proxy.upstream.pool import Pool
from sidecar.proxy.upstream.queue import Queue


def _nobody_asks() -> None:
    """Do nothing: only the inbound side wants to know at once that its app is not there."""


class Destination:
    """A cluster and its pools."""

    def __init__(
        self,
        runtime: Runtime,
        cluster: Cluster,
        meter: ClientMeter,
        failures: Meter,
        idle_seconds: float,
        checks: HealthChecks | None = None,
        to_app: bool = False,
    ) -> None:
        self.runtime = runtime
        self.cluster = cluster
        self.meter = meter
        self.failures = failures  # where failed requests are counted, by their flags
        self._idle_seconds = idle_seconds
        self._checks = checks
        self._to_app = to_app
        self._pools: dict[Endpoint, Pool] = {}
        self.queue = Queue(runtime, cluster, self._close_an_idle_one)
        self.on_unreachable: Callable[[], None] = _nobody_asks  # called when no connection could be made

    def pool(self, endpoint: Endpoint) -> Pool:
        """Return the connections to this endpoint, in the endpoint's own protocol."""
        pool = self._pools.get(endpoint)
        if pool is None:
            if endpoint.protocol in ("http2", "grpc"):
                pool = Http2Pool(self.runtime, self.cluster, endpoint, self.meter, self.queue, self._to_app)
            else:
                pool = Http1Pool(
                    self.runtime, self.cluster, endpoint, self._idle_seconds, self.meter, self.queue, self._to_app
                )
            self._pools[endpoint] = pool
        return pool

    def update(self, record: ServiceRecord, zone: str) -> None:
        """Take over a service's record of a new snapshot. No connection in use is closed."""
        now = self.runtime.now()
        policy = record.policy_or_default()
        self._retire(self.cluster.update(record.protocol, policy, record.endpoints, zone, now))
        self.meter.targets = max(self.cluster.ready_endpoints(), 1)
        self.queue.serve_soon()  # by the limits of today

    def close(self) -> None:
        """Close, since the service has left the namespace: requests under way end where they are."""
        cluster = self.cluster
        self._retire(cluster.update(cluster.protocol, cluster.policy, (), "", self.runtime.now()))

    def close_idle(self) -> None:
        """Begin all requests from now on on new connections."""
        for pool in self._pools.values():
            pool.close_idle()

    def _close_an_idle_one(self) -> bool:
        return any(pool.close_an_idle_one() for pool in self._pools.values())

    def _retire(self, endpoints: list[Endpoint]) -> None:
        if self._checks is not None:
            self._checks.watch(self.cluster, self.meter)
        for endpoint in endpoints:
            pool = self._pools.get(endpoint)
            if pool is not None:
                pool.close_idle()
                if endpoint.state == "gone":
                    del self._pools[endpoint]
        if self.cluster.endpoints:  # what was a last resort, while there were none, is wanted no more
            for endpoint in [each for each in self._pools if each.state == "gone"]:
                self._pools.pop(endpoint).close_idle()


def outbound(runtime: Runtime, cluster: Cluster, meter: ClientMeter, checks: HealthChecks) -> Destination:
    """Return the destination of traffic to a service of the namespace."""
    return Destination(runtime, cluster, meter, meter, MESH_IDLE_SECONDS, checks=checks)


def local_app(
    runtime: Runtime, name: str, protocol: AppProtocol, address: str, port: int, failures: Meter
) -> Destination:
    """Return the destination of traffic that came in for this task's own app."""
    cluster = Cluster(name, protocol, LOCAL_APP)
    cluster.update(protocol, LOCAL_APP, (EndpointRecord("app", address, port, "ready"),), "", runtime.now())
    return Destination(runtime, cluster, ClientMeter(name), failures, APP_IDLE_SECONDS, to_app=True)
