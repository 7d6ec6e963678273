"""A server on loopback that answers as it is set and keeps what it was asked, and credentials that are given."""

from __future__ import annotations

from botocore.credentials import Credentials

from sidecar.credentials import TaskCredentials
from tests.support.wire.answer_server import AnswerServer, Request, Response

KEYS = Credentials("AKID", "secret", "token")


def given_credentials(credentials: Credentials | Exception | None = KEYS) -> TaskCredentials:
    """Return these credentials, or what raises this when they are asked for."""

    def find() -> Credentials | None:
        if isinstance(credentials, Exception):
            raise credentials
        return credentials

    return TaskCredentials(find)


class FakeHttp(AnswerServer):
    """A server with one answer."""

    def __init__(self) -> None:
        self.status = 200
        self.fields: dict[str, str] = {}
        self.body = b"{}"
        self.requests: list[Request] = []
        super().__init__(self._answer)

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(self.status, self.fields, self.body)
