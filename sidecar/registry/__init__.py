"""What the sidecar asks of the control plane, and tells it.

- calls: signed HTTP requests
- client: the API
- feed: the feed and the bucket of whole documents
- sources: feed or API, by which of them answers
- poller: asks for the newest snapshot, as whole or as the change since the last one
- cache: the last good snapshot, on disk, for a start without the API
- questions: answers what operators ask of this sidecar
- gate: whether callers know this task, so that ECS may take it for healthy
- health reporter: tells the registry what ECS says of this task's containers
"""
