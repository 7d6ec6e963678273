"""The environment: what it may say, and what a mistake is answered with."""

from __future__ import annotations

import ipaddress
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import Config, ConfigError, InboundService, read
from sidecar.variables import VARIABLES

NEEDED = {"TRAMO_API_URL": "https://api.example/prod/", "AWS_REGION": "eu-west-1"}


def test_the_defaults() -> None:
    config = read(NEEDED)
    assert (config.namespace, config.api_url, config.region) == ("", "https://api.example/prod", "eu-west-1")
    assert config.inbound == ()
    assert config.forward_proxy == ("127.0.0.1", 15001)
    assert config.admin == ("127.0.0.1", 9901)
    assert config.vip_network == ipaddress.IPv4Network("127.254.0.0/16")
    assert (config.hosts_file, config.cache_file) == ("/etc/hosts", "/var/lib/tramo/snapshot.json")
    assert (config.poll_seconds, config.metrics, config.metrics_seconds) == (5.0, "cloudwatch", 60.0)
    assert (config.drain_seconds, config.log_level) == (20.0, "INFO")


def test_what_can_be_turned_off() -> None:
    off = dict.fromkeys(("TRAMO_FORWARD_PROXY", "TRAMO_HOSTS_FILE", "TRAMO_CACHE_FILE", "TRAMO_METRICS"), "off")
    config = read(NEEDED | off)
    assert (config.forward_proxy, config.hosts_file, config.cache_file, config.metrics) == (None, None, None, "off")


def test_redirected_addresses_are_nobodys() -> None:
    redirected = NEEDED | {"TRAMO_REDIRECT": "127.0.0.1:15002"}
    assert read(NEEDED).redirect is None
    config = read(redirected)
    assert config.redirect == ("127.0.0.1", 15002)
    assert config.vip_network == ipaddress.IPv4Network("240.0.0.0/16")
    with pytest.raises(ConfigError, match="with TRAMO_REDIRECT it should be"):
        read(redirected | {"TRAMO_VIP_NETWORK": "127.254.0.0/16"})


def test_a_mesh_is_a_name_that_the_stack_may_have() -> None:
    assert (read(NEEDED).mesh, read(NEEDED | {"TRAMO_MESH": "blue-2"}).mesh) == ("", "blue-2")
    for wrong in ("AWS/ECS", "-a", "a b", "m" * 64):
        with pytest.raises(ConfigError, match="it should be the stack's parameter Mesh"):
            read(NEEDED | {"TRAMO_MESH": wrong})


def test_inbound_services() -> None:
    config = read(NEEDED | {"TRAMO_INBOUND": " orders=15100:8080/http, ledger_2=15101:5432/tcp ,"})
    assert config.inbound == (
        InboundService("orders", 15100, 8080, "http"),
        InboundService("ledger_2", 15101, 5432, "tcp"),
    )


def test_blanks_around_a_value_are_dropped_and_an_empty_one_is_the_default() -> None:
    config = read(NEEDED | {"TRAMO_ADMIN": " 127.0.0.9:99 ", "TRAMO_DRAIN_SECONDS": ""})
    assert config.admin == ("127.0.0.9", 99)
    assert config.drain_seconds == 20.0


@pytest.mark.parametrize("name", ["TRAMO_API_URL"])
def test_what_must_be_set_is_named_with_its_meaning(name: str) -> None:
    (variable,) = [variable for variable in VARIABLES if variable.name == name]
    for value in ({name: ""}, {name: "  "}):
        with pytest.raises(ConfigError) as caught:
            read(NEEDED | value)
        assert name in str(caught.value)
        assert variable.meaning in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("TRAMO_API_URL", "api.example/prod", "https://host/stage"),
        ("TRAMO_API_URL", "ftp://api.example", "https://host/stage"),
        ("TRAMO_API_URL", "https://", "https://host/stage"),
        ("TRAMO_API_URL", "https://a/?b", "https://host/stage"),
        ("TRAMO_API_URL", "https://[::1", "https://host/stage"),
        ("TRAMO_API_URL", "https://a:port/", "https://host/stage"),
        ("TRAMO_INBOUND", "orders", "orders=15100:8080/http"),
        ("TRAMO_INBOUND", "orders=15100:8080/smtp", "http, http2, grpc, tcp"),
        ("TRAMO_INBOUND", "Orders=15100:8080/http", "orders=15100:8080/http"),
        ("TRAMO_INBOUND", "orders=0:8080/http", "between 1 and 65535"),
        ("TRAMO_INBOUND", "orders=15100:99999/http", "between 1 and 65535"),
        ("TRAMO_INBOUND", "a=15100:1/http,b=15100:2/http", "same ingress port"),
        ("TRAMO_LISTEN_ADDRESS", "everywhere", "an IP address"),
        ("TRAMO_APP_ADDRESS", "localhost", "an IP address"),
        ("TRAMO_VIP_NETWORK", "127.254.0.1/16", "host bits"),
        ("TRAMO_VIP_NETWORK", "10.0.0.0/16", "within 127.0.0.0/8"),
        ("TRAMO_VIP_NETWORK", "127.0.0.0/24", "a /16"),
        ("TRAMO_VIP_NETWORK", "127.0.0.0/8", "a /16"),
        ("TRAMO_VIP_NETWORK", "nowhere", "nowhere"),
        ("TRAMO_FORWARD_PROXY", "15001", "127.0.0.1:9901"),
        ("TRAMO_FORWARD_PROXY", "localhost:15001", "127.0.0.1:9901"),
        ("TRAMO_ADMIN", "127.0.0.1:0", "127.0.0.1:9901"),
        ("TRAMO_ADMIN", "127.0.0.1:²", "127.0.0.1:9901"),
        ("TRAMO_POLL_SECONDS", "soon", "a number of seconds above 0"),
        ("TRAMO_POLL_SECONDS", "nan", "a number of seconds above 0"),
        ("TRAMO_POLL_SECONDS", "inf", "at most 86400"),
        ("TRAMO_METRICS_SECONDS", "0", "a number of seconds above 0"),
        ("TRAMO_DRAIN_SECONDS", "-1", "a number of seconds above 0"),
        ("TRAMO_METRICS", "statsd", "one of cloudwatch"),
        ("TRAMO_ACCESS_LOG_HEADERS", "x tenant", "x-tenant,content-type"),
        ("TRAMO_ACCESS_LOG_HEADERS", "X-Tenant, Cookie", "a secret"),
        ("TRAMO_ACCESS_LOG_HEADERS", ",".join(f"x-{each}" for each in range(17)), "at most 16"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318", "https://host/stage"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "one of http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x tenant=a", "x-tenant=shop,api-key=abc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ac", "x-tenant=shop,api-key=abc"),
        ("OTEL_RESOURCE_ATTRIBUTES", "production", "a=1,b=2"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "one of otlp, none"),
        ("TRAMO_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_every_mistake_names_the_variable_and_the_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(NEEDED | {name: value})
    assert name in str(caught.value)
    assert remedy in str(caught.value)


def test_a_collector_gets_traces_and_metrics_unless_told_otherwise() -> None:
    assert read(NEEDED).otlp is None
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"}
    found = read(NEEDED | endpoint | {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%3Db, x=1"}).otlp
    assert found is not None
    assert (found.endpoint, found.headers) == ("http://127.0.0.1:4318", (("api-key", "a=b"), ("x", "1")))
    assert (found.traces, found.metrics) == (True, True)
    only_traces = read(NEEDED | endpoint | {"OTEL_METRICS_EXPORTER": "none"}).otlp
    assert only_traces is not None
    assert (only_traces.traces, only_traces.metrics) == (True, False)
    assert read(NEEDED | endpoint | {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"}).otlp is None


def test_names_of_headers_are_in_small_letters_and_once() -> None:
    assert read(NEEDED).access_log_headers == ()
    found = read(NEEDED | {"TRAMO_ACCESS_LOG_HEADERS": "X-Tenant, content-type,x-tenant,"})
    assert found.access_log_headers == (b"content-type", b"x-tenant")


@given(st.sampled_from([variable.name for variable in VARIABLES]), st.text(max_size=30))
def test_any_value_is_taken_or_refused_by_name(name: str, value: str) -> None:
    try:
        config = read(NEEDED | {name: value})
    except ConfigError as error:
        said = str(error)
    else:
        said = name
        assert len(fields(Config)) == len(fields(config))
    assert name in said


def test_every_variable_has_a_meaning() -> None:
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)
    assert all(variable.meaning for variable in VARIABLES)
