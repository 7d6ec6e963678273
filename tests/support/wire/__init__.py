"""What tests put at the other end of a connection.

Servers that live in the test's process:

- `answer_server`: HTTP/1.1 whose answers a function gives. Whoever needs an API, an AWS service or a metadata endpoint
  builds on it: `fake_http` has one answer, `otlp_collector` takes OTLP.
- `http2_server`: HTTP/2 by h2, frame by frame, for what no well-behaved server would send
- `grpc_service`: gRPC by grpcio

`tests.support.proxy.sidecar.Backend` is an endpoint as raw sockets, which may cut, stall or break HTTP. Programs that
run as tasks are not here: they must have the sockets and the signals of a real app (`tests.rolling.server`,
`tests.faults`, `tests.soak`).

`http1` and `http2` make and read messages.
"""

from __future__ import annotations
