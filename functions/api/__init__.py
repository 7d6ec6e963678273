"""The function behind the REST API: snapshots for sidecars, services and policies for people and tools."""
