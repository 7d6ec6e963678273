"""The function that brings ECS task events into the registry."""
