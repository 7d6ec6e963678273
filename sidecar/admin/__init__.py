"""What the sidecar tells of itself, on loopback only."""
