"""Which endpoint takes a request, and whether another is tried. Values in, values out.

- cluster: the endpoints of a service under one policy
- endpoint: one task of a service, what it answered and whether it is ejected
- policy: what the owner of a service says about time-outs, retries, the circuit breaker and health
- retry budget: how many retries the requests of the last seconds allow
- balancer: the choice between two endpoints
"""
