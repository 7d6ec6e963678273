"""The function that turns changes of the registry into snapshots.

- record: one change of an item in the table; a batch of them becomes one build of each namespace
"""
