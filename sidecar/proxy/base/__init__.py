"""The floor of the proxy: interfaces, the runtime, and what both sides do with sockets."""
