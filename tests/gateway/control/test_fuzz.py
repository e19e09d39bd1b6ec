"""Schemathesis against a real process: whatever is sent, every answer is one that the OpenAPI document promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reconciler.gateway.control import openapi
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import ADMIN, CONSUMER_KEY, UPSTREAM_KEY, document

schema = schemathesis.openapi.from_dict(openapi.document())
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("fuzzed")) as process:
        for name in ("east-key", "west-key"):
            process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
        process.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})
        process.ok("POST", "/revisions", {"base": 1, "configuration": document()})
        process.ok("POST", "/revisions/2/promote")
        yield process


@schema.parametrize()
@hypothesis.settings(max_examples=15, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_answer_is_as_documented(case: schemathesis.Case[Any], gateway: GatewayProcess) -> None:
    response = case.call(base_url=gateway.url, headers={"Authorization": f"Bearer {ADMIN}"})
    case.validate_response(response, checks=CHECKS)
