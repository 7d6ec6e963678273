"""The function that compares the registry with ECS."""
