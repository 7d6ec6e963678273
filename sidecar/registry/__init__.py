"""How the sidecar learns the namespace: the API's snapshot, and the copy of it on disk."""
