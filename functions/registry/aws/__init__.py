"""Clients of the other AWS services."""
