"""What a sidecar knows, from its admin page."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable

from infra.local.environment import ADMIN_PORT, Place


def knows_all(place: Place, services: Iterable[str]) -> bool:
    """Say whether the sidecar of the task that lives there has a ready endpoint of every one of the services.

    It blocks, for 2 s while the task is not there yet.
    """
    connection = http.client.HTTPConnection(place.localhost, ADMIN_PORT, timeout=2)
    try:
        if place.namespace is not None:
            place.namespace.inside(connection.connect)
        connection.request("GET", "/clusters")
        document = json.loads(connection.getresponse().read())
    except OSError:  # it is not there yet
        return False
    finally:
        connection.close()
    ready = {
        cluster["name"]
        for cluster in document["clusters"]
        if any(endpoint["state"] == "ready" for endpoint in cluster["endpoints"])
    }
    return set(services) <= ready
