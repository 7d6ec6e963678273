"""The stores: the only package that speaks to DynamoDB.

- key, item, table: where an item is, its model of PynamoDB, and the one table of them all with its conditional writes
- store: what reads and writes one kind of item, such as tasks or questions; `Store` holds all that share the table
- feed store: the items of the feed, in a table of their own
"""

from __future__ import annotations
