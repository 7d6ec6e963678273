"""The shop: small programs that call each other by name."""
