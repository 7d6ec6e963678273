"""Parsing, rules and documents of the registry: values in, values out, no clock and no IO."""
