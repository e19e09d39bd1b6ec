"""The manifests of the matrix: two hosts, three shadow groups, three routes, two public models, four accounts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from reconciler.hosts.registry import DRIVERS, driver_schemas
from reconciler.manifest import ManifestSet
from reconciler.manifest.check import load_and_check

API = "routing.reconcile.dev/v1"
MODELS = {"smart": "gpt-large", "fast": "gpt-small"}
"""Public model -> shadow model."""
GROUPS = {"east-chat": "east", "west-chat": "west", "east-spare": "east"}
ROUTES = {"near": ("east-chat", 10), "beside": ("west-chat", 10), "spare": ("east-spare", 20)}
"""Route -> (shadow group and gateway key, priority)."""
ACCOUNTS = {
    "alpha": ("east-chat", 10), "beta": ("east-chat", 20), "gamma": ("west-chat", 10), "delta": ("east-spare", 10),
}  # fmt: skip
"""Account -> (shadow group, priority); each has an upstream of its own name."""
DEADLINE_S = 8
_PRICED = {
    "rpmLimit": 600,
    "channel": {"pricing": [{"models": ["gpt-large"], "inputPrice": 0.000002, "outputPrice": 0.000008}]},
}


def host_of(group: str) -> str:
    return GROUPS[group]


def manifests(
    *,
    max_requests: int = 500,
    minimum_grade: str | None = "exact",
    probes: int = 1,
    on_disproved: str = "report",
    max_usd: float | None = None,
    keys: tuple[str, ...] = ("app",),
    drills: tuple[str, ...] = (),
    renamed: Mapping[str, str] | None = None,
    host_names: Mapping[str, str] | None = None,
    replaced: str = "",
    channel: bool = False,
    models: Mapping[str, str] = MODELS,
    doors: Mapping[str, str] | None = None,
    suspended: str = "",
    given: str = "",
    **route_priorities: int,
) -> ManifestSet:
    """Return the set; `route_priorities` lays other priorities over.

    `renamed` are other manifest names for accounts, `host_names` their names on the host, both by account.
    `replaced`: "account" gives alpha another base URL of its upstream, "key" gives east-chat a second key.
    `channel`: east-chat has prices of its own. `models`: another shadow model for a public one.
    `doors`: another shadow group and gateway key for a route. `suspended` is the name of an account or shadow group.
    `given` is a gateway key that was made elsewhere.
    """
    names, on_host = renamed or {}, host_names or {}
    key = {"valueFrom": _env("GIVEN")}
    documents = [
        _plane(), *(_host(name) for name in ("east", "west")),
        *(_doc("ShadowGroup", name, host=host, settings=_PRICED if (name, channel) == ("east-chat", True) else {})
          for name, host in GROUPS.items()),
        *(_doc("GatewayKey", name, group=name, version=2 if (name, replaced) == ("east-chat", "key") else 1,
               **(key if name == given else {}))
          for name in GROUPS),
        *(_account(name, names.get(name, name), on_host.get(name),
                   "" if (name, replaced) == ("alpha", "account") else "/v1") for name in ACCOUNTS),
        _doc("LogicalGroup", "chat", controlPlane="gateway", sticky={"mode": "session", "ttl": "1h"},
             failover={"maxAttempts": 3, "failureThreshold": 3, "window": "30s", "cooldown": "30s"}),
        *(_doc("Route", name, logicalGroup="chat", shadowGroup=(doors or {}).get(name, group),
               gatewayKey=(doors or {}).get(name, group), priority=route_priorities.get(name, priority))
          for name, (group, priority) in ROUTES.items()),
        *(_doc("ModelBinding", f"chat-{public}", logicalGroup="chat", publicModel=public,
               routes=[{"route": route, "shadowModel": shadow} for route in ROUTES])
          for public, shadow in models.items()),
        *(_doc("ManagedKey", key, logicalGroups=["chat"], owner="apps", valueFrom=_env(f"KEY_{key.upper()}"))
          for key in keys),
        _doc("Acceptance", "all", targets=[{"kind": "LogicalGroup"}], minimumGrade=minimum_grade, freshness="24h",
             probes=probes, onDisproved=on_disproved,
             deadline=f"{DEADLINE_S}s", maxTokens=16, drills=list(drills),
             budget={"maxRequests": max_requests, "maxTokens": 100000, "maxUsd": max_usd}),
    ]  # fmt: skip
    for document in documents:
        if suspended and document["metadata"]["name"] == suspended and document["kind"] != "GatewayKey":
            document["metadata"]["annotations"] = {"reconcile.dev/suspend": "true"}
    found, problems = load_and_check(
        ["-"],
        stdin=io.StringIO(yaml.safe_dump_all(documents)),
        driver_schemas=driver_schemas(),
        aliases_verified={name: driver.CAPABILITIES.aliases_verified for name, driver in DRIVERS.items()},
        now=datetime(2027, 1, 15, tzinfo=UTC),
    )
    assert [str(each) for each in problems if each.severity == "error"] == []
    return found


def _plane() -> dict[str, Any]:
    token = {"valueFrom": _env("GATEWAY_ADMIN")}
    return _doc("ControlPlane", "gateway", endpoint="embedded://gateway", adminToken=token)


def _host(name: str) -> dict[str, Any]:
    return _doc(
        "ShadowHost",
        name,
        driver="sub2api",
        adminEndpoint=f"embedded://{name}",
        adminCredential={"valueFrom": _env(f"{name.upper()}_ADMIN")},
        keyIssuer={"email": "reconciler@example.com", "passwordFrom": _env(f"{name.upper()}_ISSUER")},
        requestBudget={"requestsPerSecond": 1000, "burst": 1000, "maxInFlight": 16},
    )


def _account(name: str, called: str, host_name: str | None, version_path: str) -> dict[str, Any]:
    group, priority = ACCOUNTS[name]
    return _doc(
        "ProviderAccount",
        called,
        hostName=host_name,
        host=host_of(group),
        groups=[group],
        baseUrl=f"embedded://upstream-{name}{version_path}",
        credential={"valueFrom": _env(f"UPSTREAM_{name.upper()}")},
        models=sorted(MODELS.values()),
        priority=priority,
    )


def _doc(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _env(name: str) -> dict[str, str]:
    return {"env": f"RECONCILE_SECRET_{name}"}
