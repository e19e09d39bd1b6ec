"""Random but consistent houses, for hypothesis: hosts, groups, accounts, keys, routes, bindings, consumers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from reconciler.plan.model import DesiredObject, ObservedObject
from tests.plan.cast import (
    account,
    binding,
    foreign,
    gateway_key,
    group,
    logical_group,
    managed_key,
    marker,
    route,
    shadow_host,
)

HOSTS = ("east", "west")
MODELS = ("gpt-4o", "gpt-4.1", "o3")

House = list[DesiredObject]


@st.composite
def houses(draw: st.DrawFn) -> House:
    """Return the desired objects of one consistent set of manifests."""
    found: House = []
    groups: dict[str, list[str]] = {}
    for host in HOSTS:
        groups[host] = draw(st.lists(st.sampled_from(["chat", "code", "bulk"]), unique=True, max_size=3))
        found += _on_host(draw, host, groups[host])
    return found + _in_plane(draw, groups)


def _on_host(draw: st.DrawFn, host: str, groups: list[str]) -> House:
    plane = f"host/{host}"
    found: House = [group(each, plane, settings={"rpmLimit": draw(st.integers(0, 3))}) for each in groups]
    found += [gateway_key(f"{each}-key", plane, each, draw(st.integers(1, 2))) for each in groups]
    if groups:
        for name in draw(st.lists(st.sampled_from(["alpha", "beta"]), unique=True)):
            found.append(
                account(
                    name,
                    plane,
                    fingerprint=draw(st.sampled_from(["fp1", "fp2"])),
                    models=draw(st.lists(st.sampled_from(MODELS), unique=True, min_size=1)),
                    groups=draw(st.lists(st.sampled_from(groups), unique=True, min_size=1)),
                    concurrency=draw(st.integers(1, 3)),
                )
            )
    return found


def _in_plane(draw: st.DrawFn, groups: dict[str, list[str]]) -> House:
    found: House = [shadow_host(host) for host in HOSTS]
    routes: list[str] = []
    found.append(logical_group())
    for host, names in groups.items():
        for each in names:
            if draw(st.booleans()):
                routes.append(f"{host}-{each}")
                found.append(
                    route(
                        routes[-1],
                        host=host,
                        group=each,
                        priority=draw(st.integers(1, 2)),
                        weight=draw(st.integers(1, 2)),
                        enabled=draw(st.booleans()),
                    )
                )
    for model in draw(st.lists(st.sampled_from(["fast", "smart"]), unique=True)):
        bound = draw(st.lists(st.sampled_from(routes), unique=True, min_size=1)) if routes else []
        if bound:
            found.append(binding(*bound, name=model, model=model, shadow=draw(st.sampled_from(MODELS))))
    if draw(st.booleans()):
        found.append(managed_key())
    return found


@st.composite
def strangers(draw: st.DrawFn) -> list[tuple[str, ObservedObject]]:
    """Return objects that somebody else made on a host, some of them with names that manifests use too."""
    names: Any = st.sampled_from(["chat", "alpha", "theirs"])
    cast = [group(draw(names)), account(draw(names), groups=[])]
    other = marker("ShadowGroup", "chat", installation="inst-other")
    found = []
    for each in draw(st.lists(st.sampled_from(cast), max_size=3)):
        mark = draw(st.sampled_from([None, other]))
        found.append((f"host/{draw(st.sampled_from(HOSTS))}", replace(foreign(each), marker=mark)))
    return found
