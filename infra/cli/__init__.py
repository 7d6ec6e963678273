"""The `tramo` command."""
