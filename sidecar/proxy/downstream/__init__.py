"""The side of the clients: connections that were accepted.

- frontend: what a connection asks of its listener
- connection: a client's socket that speaks HTTP/1.1 or HTTP/2, once `detect` has found out which
- request (HTTP/1.1), stream (HTTP/2): the client of one exchange
- pipeline: what an HTTP/1.1 client has sent behind its request in hand
- time-outs: how long a client may take
"""
