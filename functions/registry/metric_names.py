"""The metrics that the functions write, in one list from which dashboard and reference are made.

They stand in the CloudWatch namespace of `POWERTOOLS_METRICS_NAMESPACE` (the mesh, Tramo by default) with the one
dimension `service` (`POWERTOOLS_SERVICE_NAME`), which Powertools adds by itself. No metric carries a task, a namespace
or a service of the mesh as a dimension: their number would be the bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its CloudWatch name, its unit, the function that writes it, and what it says."""

    name: str
    unit: str
    function: str
    meaning: str


EVENTS_APPLIED: Final = Metric("EventsApplied", "Count", "registrar", "Task events that changed the registry.")
EVENTS_STALE: Final = Metric(
    "EventsStale", "Count", "registrar", "Task events that came late or twice and changed nothing."
)
EVENTS_IGNORED: Final = Metric(
    "EventsIgnored",
    "Count",
    "registrar",
    "Task events of tasks without the tramo.service-connect label, of another mesh, or of clusters that are not in the "
    "list.",
)
EVENTS_REJECTED: Final = Metric(
    "EventsRejected",
    "Count",
    "registrar",
    "Task events that cannot be registered, as the log says why: most often a mistake in a label.",
)
EVENTS_MALFORMED: Final = Metric("EventsMalformed", "Count", "registrar", "Input that is not an ECS event of ours.")
SERVICE_EVENTS: Final = Metric(
    "ServiceEvents", "Count", "registrar", "ECS service actions and deployment steps that were kept as history."
)
TASKS_SWEPT: Final = Metric("TasksSwept", "Count", "reconciler", "Tasks that a sweep of the ECS API looked at.")
TASKS_LEFT_OUT: Final = Metric(
    "TasksLeftOut",
    "Count",
    "reconciler",
    "Tasks that a sweep could not register: a mistake in a label, or a call that failed for them.",
)
DRIFT: Final = Metric("Drift", "Count", "reconciler", "Tasks whose record a sweep had to correct: lost events.")
PUBLICATION_DRIFT: Final = Metric(
    "PublicationDrift",
    "Count",
    "reconciler",
    "Tasks and services whose published form a sweep had to correct: lost publications.",
)
FEED_DRIFT: Final = Metric(
    "FeedDrift",
    "Count",
    "reconciler",
    "Copies of the feed that a sweep had to write, since a publisher did not come so far; all of a namespace at each "
    "sweep while the bucket refuses its whole document.",
)
SERVICES_LEFT_OUT: Final = Metric(
    "ServicesLeftOut",
    "Count",
    "reconciler",
    "Services that are published as they once were, since they have grown too large, at each sweep.",
)
ALIAS_CONFLICTS: Final = Metric(
    "AliasConflicts", "Count", "reconciler", "Aliases that a service wants and another one holds, at each sweep."
)
SERVICE_CLAIMS_REFUSED: Final = Metric(
    "ServiceClaimsRefused",
    "Count",
    "reconciler",
    "Services that running tasks claim and may not have, since they belong to others or the namespace does not let "
    "the tasks in, at each sweep.",
)
SWEEP_FAILURES: Final = Metric(
    "SweepFailures", "Count", "reconciler", "Clusters and namespaces that a sweep left out because a call failed."
)
SNAPSHOT_SERVICES: Final = Metric(
    "SnapshotServices", "Count", "reconciler", "Services in all snapshots, at each sweep."
)
SNAPSHOT_ENDPOINTS: Final = Metric(
    "SnapshotEndpoints", "Count", "reconciler", "Endpoints in all snapshots, at each sweep."
)
TASK_FINDINGS: Final = Metric(
    "TaskFindings", "Count", "reconciler", "Mistakes that sidecars see in living tasks, at each sweep."
)
OPEN_FINDINGS: Final = Metric(
    "OpenFindings",
    "Count",
    "reconciler",
    "Mistakes that anybody sees (docs/findings.md), each once for its definition or service, at each sweep.",
)
SNAPSHOTS_PUBLISHED: Final = Metric(
    "SnapshotsPublished", "Count", "publisher", "Snapshots of a namespace that got a new revision."
)
PUBLISH_CONFLICTS: Final = Metric(
    "PublishConflicts",
    "Count",
    "publisher",
    "Attempts to publish that lost against another publisher and were made again.",
)
PUBLISH_FAILURES: Final = Metric(
    "PublishFailures",
    "Count",
    "publisher",
    "Publications of a namespace that another try would not help, and those whose whole document the bucket refused; "
    "the reconciler compares the namespace each minute.",
)
PUBLISH_TIME: Final = Metric(
    "PublishTime",
    "Milliseconds",
    "publisher",
    "Time to bring the snapshot of a namespace up to date, all attempts together.",
)
HEALTH_REPORTS: Final = Metric("HealthReports", "Count", "api", "Health reports of sidecars that changed the registry.")
QUESTIONS_ASKED: Final = Metric("QuestionsAsked", "Count", "api", "Questions that people asked sidecars.")
POLICIES_CHANGED: Final = Metric("PoliciesChanged", "Count", "api", "Policies that were written or removed.")

METRICS: Final = tuple(each for each in tuple(globals().values()) if isinstance(each, Metric))
"""All of them, in the order above."""
