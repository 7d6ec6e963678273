"""How commands sign: as botocore does, without waiting for its import."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import botocore.credentials
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.client.signature import Credentials, signed
from infra.local.settings import REPOSITORY

NOW = datetime(2026, 11, 29, 12, 0, 5, tzinfo=UTC)
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)


def of_botocore(
    method: str, url: str, headers: dict[str, str], body: bytes, credentials: Credentials, region: str
) -> str:
    request = AWSRequest(method, url, headers=headers, data=body)
    signer = SigV4Auth(
        botocore.credentials.Credentials(credentials.access_key, credentials.secret_key, credentials.token or None),
        "execute-api",
        region,
    )
    request.context["timestamp"] = f"{NOW:%Y%m%dT%H%M%SZ}"
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if credentials.token:
        request.headers["X-Amz-Security-Token"] = credentials.token
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    segments=st.lists(names.filter(lambda name: name.strip(".")), min_size=1, max_size=3),
    query=st.dictionaries(names.filter(bool), names, max_size=3),
    header=st.text("abc 123", min_size=1, max_size=12).map(str.strip),
    body=st.binary(max_size=20),
    token=st.sampled_from(["", "FwoGZXIvYXdzEBYaD+/="]),
)
@example("GET", ["a"], {"a": "", "a0": ""}, "b", b"", "")  # `=` stands behind the digits
def test_the_signature_is_botocores(
    method: str, segments: list[str], query: dict[str, str], header: str, body: bytes, token: str
) -> None:
    path = "/".join(quote(each, safe="") for each in segments)
    url = f"https://abc.execute-api.eu-west-1.amazonaws.com/live/{path}"
    url += f"?{urlencode(query, quote_via=quote)}" if query else ""
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    headers = {"Accept": "application/json", "X-Own": header}
    made = signed(method, url, headers, body, credentials, "eu-west-1", NOW)
    expected = of_botocore(method, url, headers, body, credentials, "eu-west-1")
    assert made["Authorization"].rpartition("Signature=")[2] == expected


def test_commands_of_a_local_mesh_wait_for_no_large_library() -> None:
    program = (
        "import sys; from infra.cli import main, check, measure; main.make_parser(); "
        "print([each for each in ('boto3', 'botocore.auth', 'moto', 'rich', 'asyncio') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
