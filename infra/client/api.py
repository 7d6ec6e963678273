"""A client of the mesh's API: the same data that every sidecar gets, from AWS or from a local cluster.

Requests are signed with Signature Version 4 for execute-api, as API Gateway wants with IAM authorisation.
"""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from infra.client.signature import Credentials, signed
from infra.local.settings import ACCESS_KEY, SECRET_KEY, LocalError

_TIMEOUT: Final = 15.0

Json = dict[str, Any]

_UNKNOWN_HERE: Final = (
    "; API Gateway does not know this API here: a private one is reached through its VPC endpoint only, and a "
    "public one not from a VPC whose endpoint for execute-api has private DNS"
)
_NO_WAY: Final = "; a private API (the stack's VpcEndpointIds) is reached from its VPC only"


class ApiError(LocalError):
    """The API cannot be reached or refuses. `status` is 0 if it was not reached."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class MeshApi:
    """Reads namespaces, services and endpoints, says who may offer a service, and forgets services."""

    def __init__(self, url: str, region: str, credentials: Credentials) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ApiError(f"{url!r} is not an address of an API: it begins with https://")
        self._url = url.rstrip("/")
        self._region = region
        self._credentials = credentials

    @classmethod
    def local(cls, url: str, region: str) -> MeshApi:
        """Return a client of a local cluster's API."""
        return cls(url, region, Credentials(ACCESS_KEY, SECRET_KEY))

    @classmethod
    def aws(cls, url: str, region: str | None) -> MeshApi:
        """Return a client with the user's own AWS credentials. Raises ApiError if there are none."""
        import botocore.session  # takes longer than all that a command of the local mesh does

        session = botocore.session.get_session()
        credentials = session.get_credentials()
        region = region or session.get_config_variable("region") or _region_of(url)
        frozen = credentials.get_frozen_credentials() if credentials else None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise ApiError("no AWS credentials were found: set AWS_PROFILE, or sign in with aws sso login")
        if not region:
            raise ApiError("the region is not known: set AWS_REGION")
        return cls(url, region, Credentials(frozen.access_key, frozen.secret_key, frozen.token or ""))

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces."""
        return [namespace["name"] for namespace in self._get("/v1/namespaces")["namespaces"]]

    def services(self, namespace: str) -> Iterator[Json]:
        """Yield the services of a namespace, page after page; one that only clients have joined has none."""
        following = ""
        while True:
            query = {"next": following} if following else {}
            try:
                page = self._get(f"/v1/namespaces/{quote(namespace, safe='')}/services", query)
            except ApiError as error:
                if error.status != 404:
                    raise
                return
            yield from page["services"]
            following = page.get("next") or ""
            if not following:
                return

    def findings(self, namespace: str | None) -> Iterator[Json]:
        """Yield what is wrong in a namespace, or (None) with definitions that name none, page after page."""
        path = "/v1/findings" if namespace is None else f"/v1/namespaces/{quote(namespace, safe='')}/findings"
        following = ""
        while True:
            page = self._get(path, {"next": following} if following else {})
            yield from page["findings"]
            following = page.get("next") or ""
            if not following:
                return

    def snapshot(self, namespace: str) -> Json:
        """Return what sidecars read of a namespace."""
        return self._get(f"/v1/namespaces/{quote(namespace, safe='')}/snapshot")

    def service(self, namespace: str, name: str) -> Json:
        """Return one service with its endpoints."""
        return self._get(f"/v1/namespaces/{quote(namespace, safe='')}/services/{quote(name, safe='')}")

    def task(self, namespace: str, task: str) -> Json:
        """Return what is known of a task."""
        return self._get(f"/v1/namespaces/{quote(namespace, safe='')}/tasks/{quote(task, safe='')}")

    def ask(self, namespace: str, question: Json) -> Json:
        """Ask sidecars something; return the question's id, and who shall answer."""
        path = f"/v1/namespaces/{quote(namespace, safe='')}/questions"
        return self._call("POST", path, json.dumps(question).encode())

    def answers(self, namespace: str, question: str, after: str = "") -> Json:
        """Return a page of answers to a question."""
        path = f"/v1/namespaces/{quote(namespace, safe='')}/questions/{quote(question, safe='')}"
        return self._get(path, {"next": after} if after else {})

    def policy(self, namespace: str, name: str) -> tuple[Json, str]:
        """Return a service's policy and its ETag."""
        return self._exchange("GET", _policy_path(namespace, name))

    def set_policy(self, namespace: str, name: str, policy: Json | None, tag: str | None) -> tuple[Json, str]:
        """Replace a service's policy, or remove it (None); only if it still has this ETag, where one is given."""
        headers = {} if tag is None else {"If-Match": tag}
        if policy is None:
            return self._exchange("DELETE", _policy_path(namespace, name), None, headers)
        return self._exchange("PUT", _policy_path(namespace, name), json.dumps(policy).encode(), headers)

    def owners(self, namespace: str, name: str) -> tuple[Json, str]:
        """Return whose a service is, who else may offer it and which claims were refused, and the ETag."""
        return self._exchange("GET", _owners_path(namespace, name))

    def allow(self, namespace: str, name: str, principals: Sequence[str], tag: str) -> Json:
        """Say who may offer a service besides its owner, if nobody has changed that since this ETag."""
        body = json.dumps({"allowed": list(principals)}).encode()
        return self._exchange("PUT", _owners_path(namespace, name), body, {"If-Match": tag})[0]

    def forget(self, namespace: str, name: str) -> None:
        """Forget a service that has no tasks."""
        self._call("DELETE", f"/v1/namespaces/{quote(namespace, safe='')}/services/{quote(name, safe='')}")

    def _get(self, path: str, query: dict[str, str] | None = None) -> Json:
        return self._call("GET", path + (f"?{urlencode(query, quote_via=quote)}" if query else ""))

    def _call(self, method: str, path: str, body: bytes | None = None) -> Json:
        return self._exchange(method, path, body)[0]

    def _exchange(
        self, method: str, path: str, body: bytes | None = None, more: dict[str, str] | None = None
    ) -> tuple[Json, str]:
        url = self._url + path
        content = {} if body is None else {"Content-Type": "application/json"}
        plain = {"Accept": "application/json", **content, **(more or {})}
        now = datetime.now(UTC)
        headers = signed(method, url, plain, body or b"", self._credentials, self._region, now)
        headers["Accept-Encoding"] = "gzip"
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - http(s), checked in __init__
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                text = answer.read()
                document = _decode(text, answer.headers.get("Content-Encoding")) if text else {}
                return document, answer.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            hint = _UNKNOWN_HERE if "Forbidden" in error.headers.get("x-amzn-ErrorType", "") else ""
            with error:
                problem = _problem(error.read(), error.headers.get("Content-Encoding"))
            raise ApiError(f"the API answered {error.code}: {problem or error.reason}{hint}", error.code) from error
        except OSError as error:
            raise ApiError(f"the API at {self._url} cannot be reached: {error}{_NO_WAY}") from error


def _owners_path(namespace: str, name: str) -> str:
    return f"/v1/namespaces/{quote(namespace, safe='')}/services/{quote(name, safe='')}/owners"


def _policy_path(namespace: str, name: str) -> str:
    return f"/v1/namespaces/{quote(namespace, safe='')}/services/{quote(name, safe='')}/policy"


def _region_of(url: str) -> str:
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[parts.index("execute-api") + 1] if "execute-api" in parts[:-1] else ""


def _decode(body: bytes, encoding: str | None) -> Json:
    document: Json = json.loads((gzip.decompress(body) if encoding == "gzip" else body) or b"{}")
    return document


def _problem(body: bytes, encoding: str | None) -> str:
    try:
        document = _decode(body, encoding)
    except ValueError:  # not one of ours
        return body[:200].decode("utf-8", "replace")
    return str(document.get("detail") or document.get("title") or document.get("message") or "")
