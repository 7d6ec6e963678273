"""Clients in other languages: the programs, the client matrix, and the service of gRPC's interoperability tests."""

from __future__ import annotations
