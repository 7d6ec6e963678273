"""A server on loopback that answers as it is set and keeps what it was asked, and credentials that are given."""

from __future__ import annotations

import botocore.session
from botocore.credentials import Credentials

from tests.support.wire.answer_server import AnswerServer, Request, Response

KEYS = Credentials("AKID", "secret", "token")


class GivenSession(botocore.session.Session):
    """A session whose credentials are given, or what is raised when they are asked for."""

    def __init__(self, credentials: Credentials | Exception | None = KEYS) -> None:
        super().__init__()
        self.given = credentials

    def get_credentials(self) -> Credentials | None:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


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
