"""The side of the endpoints: connections that this proxy makes.

- destination: a service, its cluster and a pool for each of its endpoints
- pool: the connections to one endpoint, and the exchanges that wait for one
- upstream: an HTTP/1.1 connection, or a stream of an HTTP/2 one, while it carries an exchange
- health check, probe: the repeated question whether an endpoint works, and one asking of it
"""
