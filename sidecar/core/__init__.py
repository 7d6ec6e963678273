"""The proxy's rules: values in, values out.

Nothing in this package reads a socket, a clock or a file, and nothing logs. Time is a float of seconds that
the caller passes as `now`; randomness is a number that the caller passes too. So every rule is tested with
plain data, and the package compiles.

- `http`: codecs and messages; `routing`: which endpoint takes a request
- snapshot: the services of the namespace, as the registry has published them
- flag, local reply: why the proxy failed a request, and what it answers in the service's place
- meter, metric, histogram: what is counted, and under which name it is reported
- timed, wheel: what waits for a moment, and who finds those that are due
- finding: a mistake that the sidecar sees in its task or in what it reads
"""
