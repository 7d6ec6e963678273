"""The API. One route here is one event of template.yaml: Chalice finds a route by API Gateway's resource path.

IAM is checked by API Gateway before this code runs; `IAMAuthorizer` here is for the description and for
Chalice's local server. Errors are problem documents (`problems.py`).
"""

from __future__ import annotations

import os
import time
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from chalice.app import Chalice, IAMAuthorizer, Request, Response

from api import answers, asking, openapi, reading, reports, requests
from api.problems import Problem, as_problems
from registry import metric_names
from registry.domain import findings, questions
from registry.domain.findings import Found
from registry.domain.lineage import Version
from registry.domain.owners import NamespaceRules
from registry.domain.questions import LARGEST_ANSWER_BYTES
from registry.domain.service import ServiceRecord
from registry.dynamodb.feed_store import FeedStore
from registry.dynamodb.owner_store import RulesConflictError, StoredRules
from registry.dynamodb.service_store import RevisionConflictError
from registry.dynamodb.store import open_store
from registry.dynamodb.task_store import ReportConflictError, ReportOutcome
from registry.settings import Settings

settings = Settings.from_environment(os.environ)
log = Logger()
metrics = Metrics()
# "pynamodb" too would trace each call twice: PynamoDB calls botocore.
tracer = Tracer(patch_modules=["botocore"])
store = open_store(settings.table, settings.region)
feed = FeedStore(settings.feed_table, settings.region) if settings.feed_table else None

# Chalice writes into the environment that it is given; the process's own is not its to change.
app = Chalice(app_name="tramo-api", configure_logs=False, env=dict(os.environ))
app.register_middleware(answers.with_etag, "http")
app.register_middleware(as_problems, "http")
authorizer = IAMAuthorizer()


def request() -> Request:
    """Return the request at work."""
    current = app.current_request
    if current is None:
        raise RuntimeError("there is a request only inside a view")
    return current


def query() -> dict[str, str]:
    """Return the request's query parameters, the last of each name."""
    return dict(request().query_params or {})


def count(metric: metric_names.Metric, value: int) -> None:
    """Count something, if there was something."""
    if value:
        metrics.add_metric(name=metric.name, unit=MetricUnit(metric.unit), value=value)


@app.route("/v1/health", methods=["GET"])
def get_health() -> Any:
    """Say that the API answers. Needs no credentials and reads nothing."""
    return {"status": "ok"}


@app.route("/v1/openapi.json", methods=["GET"], authorizer=authorizer)
def get_openapi() -> Any:
    """Return this API's description, OpenAPI 3.1."""
    return openapi.describe(app.routes)


@app.route("/v1/namespaces", methods=["GET"], authorizer=authorizer)
def get_namespaces() -> Any:
    """List the namespaces that tasks have joined."""
    return {"namespaces": [{"name": name} for name in store.tasks.namespaces()]}


@app.route("/v1/findings", methods=["GET"], authorizer=authorizer)
def get_general_findings() -> Any:
    """List what is wrong with task definitions whose namespace cannot be read, a page at a time."""
    return finding_page(None)


@app.route("/v1/namespaces/{namespace}/findings", methods=["GET"], authorizer=authorizer)
def get_findings(namespace: str) -> Any:
    """List what is wrong in a namespace, whoever sees it, a page at a time; also before a task has joined it."""
    return finding_page(requests.namespace_name(namespace))


def finding_page(namespace: str | None) -> dict[str, Any]:
    """Return the findings that the query asks for."""
    limit = requests.whole_number(query(), "limit", 1, requests.LARGEST_PAGE) or requests.DEFAULT_PAGE
    return reading.finding_page(store, namespace, limit, requests.finding_key(query(), "next"), time.time())


@app.route("/v1/namespaces/{namespace}/services", methods=["GET"], authorizer=authorizer)
def get_services(namespace: str) -> Any:
    """List the services of a namespace by name, a page at a time."""
    limit = requests.whole_number(query(), "limit", 1, requests.LARGEST_PAGE) or requests.DEFAULT_PAGE
    return reading.service_page(
        store, requests.namespace_name(namespace), limit, requests.place(query(), "next"), time.time()
    )


@app.route("/v1/namespaces/{namespace}/services/{service}", methods=["GET"], authorizer=authorizer)
def get_service(namespace: str, service: str) -> Any:
    """Return a service with its endpoints, its conflicts and the recent history of its ECS service."""
    return reading.service(store, requests.namespace_name(namespace), requests.service_name(service), time.time())


@app.route("/v1/namespaces/{namespace}/services/{service}", methods=["DELETE"], authorizer=authorizer)
def delete_service(namespace: str, service: str) -> Any:
    """Forget a service that has no tasks: its owners, policy and aliases; its name is free again."""
    name, wanted = requests.namespace_name(namespace), requests.service_name(service)
    record = store.services.get(name, wanted)
    if record is None:
        raise reading.unknown_service(name, wanted)
    count_of_tasks = reading.endpoint_count(store, name, wanted)
    if count_of_tasks:
        detail = f"{wanted} has {count_of_tasks} tasks; stop them first, or they register it again"
        raise Problem(409, "has-tasks", detail, "service")
    if not store.removals.service(name, record, time.time()):
        raise Problem(409, "declared-meanwhile", f"a task of {wanted} has just declared it; look again", "service")
    log.info("a service was forgotten", namespace=name, service=wanted, owners=record.owners)
    return Response("", status_code=204)


@app.route("/v1/namespaces/{namespace}/services/{service}/policy", methods=["GET"], authorizer=authorizer)
def get_policy(namespace: str, service: str) -> Any:
    """Return a service's policy; its ETag is for If-Match."""
    record = store.services.get(requests.namespace_name(namespace), requests.service_name(service))
    return policy_answer(record, namespace, service)


@app.route("/v1/namespaces/{namespace}/services/{service}/policy", methods=["PUT"], authorizer=authorizer)
def put_policy(namespace: str, service: str) -> Any:
    """Replace a service's policy."""
    policy = requests.policy(requests.body(request().raw_body))
    return policy_answer(write_policy(namespace, service, policy), namespace, service)


@app.route("/v1/namespaces/{namespace}/services/{service}/policy", methods=["DELETE"], authorizer=authorizer)
def delete_policy(namespace: str, service: str) -> Any:
    """Remove a service's policy; the defaults hold again."""
    removed = policy_answer(write_policy(namespace, service, {}), namespace, service)
    return Response("", status_code=204, headers=removed.headers)


def write_policy(namespace: str, service: str, policy: dict[str, Any]) -> ServiceRecord | None:
    """Write a policy on the condition that the request's If-Match states."""
    expected = requests.expected_revision(request().headers.get("if-match"))
    try:
        record = store.services.set_policy(
            requests.namespace_name(namespace), requests.service_name(service), policy, expected, time.time()
        )
    except RevisionConflictError as error:
        detail = f"the policy is at revision {error.revision}, not {expected}: read it and try again"
        tag = {"ETag": requests.etag(error.revision)}
        raise Problem(412, "precondition-failed", detail, "If-Match", tag) from error
    count(metric_names.POLICIES_CHANGED, int(record is not None))
    return record


def policy_answer(record: ServiceRecord | None, namespace: str, service: str) -> Response:
    """Return a service's policy as an answer."""
    if record is None:
        raise reading.unknown_service(namespace, service)
    return Response(dict(record.policy), headers={"ETag": requests.etag(record.policy_revision)})


@app.route("/v1/namespaces/{namespace}/services/{service}/owners", methods=["GET"], authorizer=authorizer)
def get_owners(namespace: str, service: str) -> Any:
    """Return whose a service is, who else may offer it, and refused claims of the last week; ETag is for If-Match."""
    name, wanted = requests.namespace_name(namespace), requests.service_name(service)
    return owners_answer(name, wanted, store.services.get(name, wanted))


@app.route("/v1/namespaces/{namespace}/services/{service}/owners", methods=["PUT"], authorizer=authorizer)
def put_owners(namespace: str, service: str) -> Any:
    """Say who may offer a service besides its owner; tasks that were refused get traffic within a minute."""
    name, wanted = requests.namespace_name(namespace), requests.service_name(service)
    allowed = requests.valid(requests.body(request().raw_body), "owners", "bad-owners")["allowed"]
    expected = requests.expected_revision(request().headers.get("if-match"), requests.PART_ETAG)
    try:
        record = store.services.set_allowed(name, wanted, allowed, expected)
    except RevisionConflictError as error:
        detail = f"who may offer {wanted} is at revision {error.revision}, not {expected}: read it and try again"
        raise Problem(412, "precondition-failed", detail, "If-Match") from error
    if record is not None:
        log.info("who may offer a service was changed", namespace=name, service=wanted, allowed=allowed)
    return owners_answer(name, wanted, record)


def owners_answer(namespace: str, service: str, record: ServiceRecord | None) -> Response:
    """Return the owners of a service as an answer."""
    if record is None:
        raise reading.unknown_service(namespace, service)
    document = reading.owners(store, namespace, record, time.time())
    return Response(document, headers={"ETag": requests.part_etag(record.allowed_revision, document)})


@app.route("/v1/namespaces/{namespace}/rules", methods=["GET"], authorizer=authorizer)
def get_rules(namespace: str) -> Any:
    """Return whose tasks may offer services in a namespace; the ETag is for If-Match."""
    return rules_answer(store.owners.rules(requests.namespace_name(namespace)))


@app.route("/v1/namespaces/{namespace}/rules", methods=["PUT"], authorizer=authorizer)
def put_rules(namespace: str) -> Any:
    """Replace the rules of a namespace, also before the first task joins it; they hold within a minute."""
    name = requests.namespace_name(namespace)
    rules = NamespaceRules.from_document(requests.valid(requests.body(request().raw_body), "rules", "bad-rules"))
    expected = requests.expected_revision(request().headers.get("if-match"))
    try:
        stored = store.owners.set_rules(name, rules, expected, time.time())
    except RulesConflictError as error:
        detail = f"the rules are at revision {error.revision}: read them and try again"
        tag = {"ETag": requests.etag(error.revision)}
        raise Problem(412, "precondition-failed", detail, "If-Match", tag) from error
    log.info("the rules of a namespace were changed", namespace=name, rules=rules.document())
    return rules_answer(stored)


def rules_answer(stored: StoredRules) -> Response:
    """Return the rules of a namespace as an answer."""
    return Response(stored.rules.document(), headers={"ETag": requests.etag(stored.revision)})


@app.route("/v1/namespaces/{namespace}/snapshot", methods=["GET"], authorizer=authorizer)
def get_snapshot(namespace: str) -> Any:
    """Return a namespace's snapshot: all of it, what changed since a revision, or 304."""
    name = requests.namespace_name(namespace)
    wanted = requests.names(query(), "services")
    known = requests.known_versions(request().headers.get("if-none-match"))
    since = requests.since(query(), known)
    head = reading.head_of(store, name, known if since is None else known | {since})
    headers = {"Tramo-Poll-Seconds": str(settings.poll_seconds)}
    asked = questions.current(head.questions, time.time())
    if asked:
        headers["Tramo-Questions"] = asked
    if head.version in known:
        return Response("", status_code=304, headers={**headers, "ETag": requests.etag(head.version)})
    document = reading.snapshot(store, name, head, since, wanted)
    version = Version(document.get("epoch", ""), document["revision"])
    return Response(document, headers={**headers, "ETag": requests.etag(version)})


@app.route("/v1/namespaces/{namespace}/questions", methods=["POST"], authorizer=authorizer)
def post_question(namespace: str) -> Any:
    """Ask sidecars something that they know; they answer within their interval of reading the snapshot."""
    name = requests.namespace_name(namespace)
    question = asking.question(requests.body(request().raw_body), time.time())
    caller = str((request().context.get("identity") or {}).get("userArn") or "unknown")
    found = asking.ask(store, feed, name, question, time.time())
    log.info("sidecars are asked", namespace=name, caller=caller, **found)
    count(metric_names.QUESTIONS_ASKED, 1)
    return Response(found, status_code=201)


@app.route("/v1/namespaces/{namespace}/questions/{question}", methods=["GET"], authorizer=authorizer)
def get_answers(namespace: str, question: str) -> Any:
    """Return what sidecars have answered to a question, a page at a time."""
    after = requests.answer_place(query(), "next")
    return asking.answers(store, requests.namespace_name(namespace), requests.question_id(question), after, time.time())


@app.route("/v1/namespaces/{namespace}/questions/{question}/answers/{task}", methods=["POST"], authorizer=authorizer)
def post_answer(namespace: str, question: str, task: str) -> Any:
    """Take a sidecar's answer to a question."""
    name, task_id, wanted = requests.namespace_name(namespace), requests.task_id(task), requests.question_id(question)
    caller = request().context.get("identity")
    if settings.checks_tasks:
        requests.check_task(caller, task_id)
        known = store.tasks.get(name, task_id)
        if known is not None:  # of one that is not registered yet only the session is known
            requests.check_role(caller, known)
    raw = request().raw_body
    text = requests.as_text(requests.body(raw, LARGEST_ANSWER_BYTES))
    asking.answer(store, feed, name, wanted, task_id, text, time.time())
    return {"outcome": "applied"}


@app.route("/v1/namespaces/{namespace}/tasks/{task}", methods=["GET"], authorizer=authorizer)
def get_task(namespace: str, task: str) -> Any:
    """Return what is known of a task, with the findings of its sidecar."""
    return reading.task(store, requests.namespace_name(namespace), requests.task_id(task))


@app.route("/v1/namespaces/{namespace}/tasks/{task}/health", methods=["POST"], authorizer=authorizer)
def post_task_health(namespace: str, task: str) -> Any:
    """Take a sidecar's report of its task: health, that it must stop, findings."""
    name, task_id = requests.namespace_name(namespace), requests.task_id(task)
    caller = request().context.get("identity")
    if settings.checks_tasks:
        requests.check_task(caller, task_id)
    report = reports.task_report(requests.body(request().raw_body), time.time())
    if report.is_empty:
        return {"outcome": "ignored"}  # no report is what UNKNOWN means
    known = store.tasks.get(name, task_id)
    if known is not None and settings.checks_tasks:
        requests.check_role(caller, known)
    try:
        outcome = store.tasks.report(name, task_id, report)
    except ReportConflictError as error:
        raise Problem(503, "busy", str(error), headers={"Retry-After": "1"}) from error
    if outcome is ReportOutcome.UNKNOWN_TASK:
        astray = [
            Found(findings.of_task(task_id), each) for each in report.findings or () if each.code == findings.ASTRAY
        ]
        store.findings.see(name, astray, time.time())
        detail = f"namespace {name} has no living task {task_id}; its event may still be on the way"
        raise Problem(404, "unknown-task", detail, "task")
    if known is not None and report.findings and not known.gone:
        of = findings.of_definition(known.task_definition)
        kept = [Found(of, each) for each in report.findings if each.code not in findings.OF_SIDECARS_TOO]
        store.findings.see(name, kept, time.time())
    count(metric_names.HEALTH_REPORTS, int(outcome is ReportOutcome.APPLIED))
    return {"outcome": outcome.value}


@tracer.capture_lambda_handler(capture_response=False)
@log.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST, clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Answer one request of API Gateway."""
    path = event.get("requestContext", {}).get("resourcePath")
    if path not in app.routes:
        # Chalice would answer 405 or 500, and remember the path as a route.
        return (
            Problem(404, "unknown-route", f"there is no route {path}; /v1/openapi.json lists them").response().to_dict()
        )
    try:
        return answers.of_mesh(answers.finish(event, app(event, context)), settings.mesh)
    finally:
        # Not `log_metrics`: it warns of every request that counts nothing, and nearly all are such.
        if metrics.metric_set:
            metrics.flush_metrics()
