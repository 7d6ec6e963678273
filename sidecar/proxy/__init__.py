"""The asyncio shell of the proxy: sockets in, sockets out, every decision asked of `sidecar.core`.

- listener: a bound address, and whose requests come in on it
- connection: a client's socket, with the codec of its protocol
- exchange: one request and its answer, on one connection of HTTP/1.1 or one stream of HTTP/2
- attempt: one try of an exchange, on one endpoint
- destination: a service as this task sees it, its cluster and its pools
- pool: the connections to one endpoint

The way of a request, floor by floor: `listeners` accepts the connection; `downstream` reads the head and asks its
`Frontend` where it goes; `exchange` asks the destination's cluster for an endpoint and makes an attempt; `upstream`
takes a connection from the endpoint's pool and sends it. The answer comes back the same way, as `on_…` calls of the
`ExchangeEvents`. What all floors need is in `base`. `tcp` is the way of a connection that is not HTTP, `forward` takes
requests of apps that use a proxy, `mesh` makes listeners and destinations of each snapshot. A floor imports from those
below it only.
"""
