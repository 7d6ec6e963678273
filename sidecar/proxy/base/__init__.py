"""The lowest floor of the proxy: interfaces, the runtime, and what both sides do with sockets.

- client, upstream: what an exchange needs of the connections on its two sides
- exchange events: what an exchange is told by them
- recorder, observer: who writes the records of requests and connections
- runtime: the loop, the clock, the timers and the tasks that all connections share
- output: what a connection writes in one turn of the loop
- held: what is held for peers that do not go on, and its bounds in bytes
"""
