"""Two tasks with a sidecar each: what the one calls goes out through its own sidecar and in through the other's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.support.proxy.sidecar import Address, Stage, endpoint, network

FIRST_INGRESS_PORT: Final = 15_100
FIRST_APP_PORT: Final = 8_080


class Pair:
    """A calling task and a called one, whose apps listen where `app` says."""

    def __init__(self, caller: Stage, called: Stage, protocols: Mapping[str, str]) -> None:
        self.caller = caller
        self.called = called
        self._protocols = protocols

    def app(self, name: str) -> Address:
        """Where the called task's app of this name has to listen."""
        index = list(self._protocols).index(name)
        return Address(self.called.environment["TRAMO_APP_ADDRESS"], FIRST_APP_PORT + index)

    def protocol(self, name: str) -> str:
        """What this app speaks."""
        return self._protocols[name]

    def ingress(self, name: str) -> Address:
        """Where the called task's sidecar takes calls for that app."""
        return self.called.address(FIRST_INGRESS_PORT + list(self._protocols).index(name))

    def address(self, name: str) -> Address:
        """Where the calling task reaches that app, which listens already: through both sidecars."""
        address = self.publish(name)
        self.called.wait_open(self.app(name).port)
        return address

    def publish(self, name: str) -> Address:
        """Where the calling task will reach that app when it listens."""
        ingress = self.ingress(name)
        record = endpoint(name, ingress.host, ingress.port)
        return self.caller.publish(name, record, protocol=self._protocols[name])


@contextmanager
def pair(directory: Path, protocols: Mapping[str, str], **environment: str) -> Iterator[Pair]:
    """Both tasks with their sidecars ready, on networks of their own. `protocols` has one for each app's name."""
    inbound = ",".join(
        f"{name}={FIRST_INGRESS_PORT + index}:{FIRST_APP_PORT + index}/{protocol}"
        for index, (name, protocol) in enumerate(protocols.items())
    )
    with ExitStack() as stack:
        stages = []
        for task in ("caller", "called"):
            folder = directory / task
            folder.mkdir()
            own = {"TRAMO_INBOUND": inbound if task == "called" else ""}
            stages.append(Stage(stack.enter_context(network()), folder, **own, **environment))
            stack.callback(stages[-1].close)
        for stage in stages:
            stage.sidecar.wait_ready()
        yield Pair(stages[0], stages[1], protocols)
