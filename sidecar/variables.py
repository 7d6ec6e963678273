"""All environment variables of the sidecar, with defaults and meanings. The documentation is generated from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable."""

    name: str
    default: str | None  # None: it must be set
    meaning: str


VARIABLES: Final = (
    Variable(
        "TRAMO_NAMESPACE",
        "",
        "the namespace whose services this task can call; default that of the label `tramo.service-connect`, if it is "
        "on the sidecar's own container",
    ),
    Variable(
        "TRAMO_MESH",
        "",
        "the stack's parameter Mesh, which is the CloudWatch namespace of the metrics; default that of the label, if "
        "it is on the sidecar's own container, else `Tramo`",
    ),
    Variable("TRAMO_API_URL", None, "the control plane's API, the stack's output ApiUrl"),
    Variable(
        "TRAMO_FEED_TABLE",
        "",
        "the table of the feed, the stack's output FeedTableName: changes are read there each second, and the API is "
        "asked for what the feed does not have; for all tasks of a namespace, or for none",
    ),
    Variable(
        "AWS_REGION",
        "",
        "the region of the API and of the metrics; ECS sets it on Fargate, else it is the one in the task's ARN",
    ),
    Variable("TRAMO_INBOUND", "", "services of this task: name=ingressPort:appPort/protocol, comma separated"),
    Variable("TRAMO_LISTEN_ADDRESS", "0.0.0.0", "where the ingress ports listen"),  # noqa: S104
    Variable("TRAMO_APP_ADDRESS", "127.0.0.1", "where the app listens"),
    Variable(
        "TRAMO_REDIRECT",
        "off",
        "address of the one listener to which the task definition's `proxyConfiguration` redirects calls of the "
        "services' addresses, such as 127.0.0.1:15002; `off`: the sidecar listens on each service's address",
    ),
    Variable(
        "TRAMO_VIP_NETWORK",
        "",
        "network of the services' addresses in this task, a /16; by default 127.254.0.0/16, "
        "with TRAMO_REDIRECT 240.0.0.0/16",
    ),
    Variable("TRAMO_FORWARD_PROXY", "127.0.0.1:15001", "address of the forward proxy for HTTP_PROXY, or `off`"),
    Variable("TRAMO_ADMIN", "127.0.0.1:9901", "address of the admin pages"),
    Variable("TRAMO_HOSTS_FILE", "/etc/hosts", "file that gets the services' names, or `off`"),
    Variable("TRAMO_CACHE_FILE", "/var/lib/tramo/snapshot.json", "where the last good snapshot is kept, or `off`"),
    Variable("TRAMO_POLL_SECONDS", "5", "interval of polling until the API names its own"),
    Variable(
        "TRAMO_FALLBACK_SECONDS",
        "300",
        "how long endpoints that vanished while ready are tried if there are no others",
    ),
    Variable(
        "TRAMO_METRICS",
        "cloudwatch",
        "where metrics go: `cloudwatch`, `emf` (lines on stdout that CloudWatch Logs turns into metrics) or `off`; "
        "the admin page /metrics has them in any case",
    ),
    Variable("TRAMO_METRICS_SECONDS", "60", "interval of sending metrics"),
    Variable("TRAMO_ACCESS_LOG", "off", "a line on stdout for each request and TCP connection: `json`, `text`, `off`"),
    Variable(
        "TRAMO_ACCESS_LOG_SAMPLE",
        "1",
        "share of the lines to write, 0 to 1; failures are always written, so 0 writes nothing else",
    ),
    Variable("TRAMO_ACCESS_LOG_QUERY", "off", "`on` keeps query strings in the access log, `off` leaves them out"),
    Variable(
        "TRAMO_ACCESS_LOG_HEADERS",
        "",
        "names of request headers that lines have besides, comma separated, at most 16; "
        "those that carry secrets, such as Cookie and Authorization, are refused",
    ),
    Variable("TRAMO_TRACING", "off", "`xray` sends segments to the X-Ray daemon, `off` leaves trace headers alone"),
    Variable(
        "TRAMO_TRACING_RATE",
        "0.05",
        "share of requests to trace, 0 to 1, beyond the first of each second; for those whose caller has not decided",
    ),
    Variable("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000", "host and UDP port of the X-Ray daemon"),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "address of an OpenTelemetry collector that takes OTLP/HTTP, such as http://127.0.0.1:4318; "
        "with it traces and metrics are sent there, beside where they go else",
    ),
    Variable("OTEL_EXPORTER_OTLP_HEADERS", "", "fields of the calls to the collector: name=value, comma separated"),
    Variable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "how the collector is spoken to, only `http/protobuf`"),
    Variable("OTEL_TRACES_EXPORTER", "otlp", "`none` sends no traces to the collector"),
    Variable("OTEL_METRICS_EXPORTER", "otlp", "`none` sends no metrics to the collector"),
    Variable(
        "OTEL_SERVICE_NAME",
        "",
        "`service.name` at the collector; default the first service in TRAMO_INBOUND, else the ECS service",
    ),
    Variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "",
        "more attributes of this task at the collector, such as deployment.environment.name=production: name=value, "
        "comma separated",
    ),
    Variable("TRAMO_SERVICE_NAME", "", "ECS service of this task; default from the task metadata endpoint"),
    Variable("TRAMO_CLUSTER_NAME", "", "ECS cluster of this task; default from the task metadata endpoint"),
    Variable("TRAMO_ZONE", "", "availability zone of this task; default from the task metadata endpoint"),
    Variable(
        "TRAMO_DRAIN_SECONDS",
        "20",
        "longest wait for work under way after SIGTERM; the container's `stopTimeout` must be longer",
    ),
    Variable("TRAMO_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR; logs are JSON lines on stderr"),
    Variable("AWS_ENDPOINT_URL", "", "where AWS is, if not at its usual addresses; the three below come first"),
    Variable("AWS_ENDPOINT_URL_DYNAMODB", "", "where the feed's DynamoDB is, such as an interface endpoint"),
    Variable("AWS_ENDPOINT_URL_S3", "", "where the S3 of whole snapshots is; buckets are then named in the path"),
    Variable("AWS_ENDPOINT_URL_CLOUDWATCH", "", "where CloudWatch is, such as an interface endpoint"),
    Variable("ECS_CONTAINER_METADATA_URI_V4", "", "set by ECS: the task metadata endpoint"),
)
