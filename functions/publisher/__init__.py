"""The function that turns changes of the registry into snapshots."""
