"""The function that brings ECS task events into the registry.

- event: what ECS says of a task or of a service; the one becomes a task's state, the other an item of a history
"""
