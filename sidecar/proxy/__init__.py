"""The asyncio shell of the proxy: sockets in, sockets out, every decision asked of `sidecar.core`."""
