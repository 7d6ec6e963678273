"""The faults, each with what it is done to: so many endpoints of a service, of which some are faulty."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from tests.faults.endpoint import BY_HTTP2, Fault

RATE: Final = 120.0
BEGIN_SECONDS: Final = 2.0
"""From the first request to the fault."""
SECONDS: Final = 12.0
PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    title: str
    fault: Fault
    faulty: int = 1
    endpoints: int = 3
    begins_by: int = signal.SIGUSR1  # or the fault itself is a signal
    timeout: float = PATIENCE  # of the clients
    at_once: int = 0  # so many requests at once, in place of a constant rate
    cuts: bool = False  # a rule of the firewall takes what is sent on the connections to the endpoints

    @property
    def protocol(self) -> str:
        """What the service speaks."""
        return "http2" if self.fault in BY_HTTP2 else "http"


CASES: Final = (
    Case("kill", "1 of 3 is killed", Fault.NONE, begins_by=signal.SIGKILL),
    Case("kill-2", "2 of 3 are killed", Fault.NONE, 2, begins_by=signal.SIGKILL),
    Case("stop", "1 of 3 is stopped (SIGSTOP)", Fault.NONE, begins_by=signal.SIGSTOP),
    Case("hang", "1 of 3 answers nothing", Fault.HANG),
    Case("hang-patient", "the same, clients wait 20 s", Fault.HANG, timeout=20.0),
    Case("hang-2", "2 of 3 answer nothing", Fault.HANG, 2),
    Case("refuse", "1 of 3 listens no more", Fault.REFUSE),
    Case("close", "1 of 3 closes each connection at once", Fault.CLOSE),
    Case("reset", "1 of 3 resets each connection at once", Fault.RESET),
    Case("503", "1 of 3 answers 503", Fault.STATUS_503),
    Case("500", "1 of 3 answers 500", Fault.STATUS_500),
    Case("429", "1 of 3 answers 429", Fault.STATUS_429),
    Case("cut", "1 of 3 breaks off in mid-answer", Fault.CUT),
    Case("slow", "1 of 3 takes 2 s", Fault.SLOW),
    Case("seventh", "all close connections behind the 7th answer", Fault.SEVENTH, 3),
    Case("all-503", "all answer 503", Fault.STATUS_503, 3),
    Case("long", "1,500 requests of 3 s at once", Fault.LONG, 0, at_once=1500, timeout=20.0),
    Case("refuse-streams", "HTTP/2: 1 of 3 refuses streams", Fault.REFUSE_STREAMS),
    Case("reset-streams", "HTTP/2: 1 of 3 resets streams", Fault.RESET_STREAMS),
    Case("goaway", "HTTP/2: 1 of 3 says GOAWAY each 10 answers", Fault.GOAWAY),
    Case("half-open", "HTTP/2: the one connection is half-open", Fault.HTTP2, endpoints=1, timeout=20.0, cuts=True),
)
