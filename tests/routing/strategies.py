"""Documents for property tests: small configurations whose references hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MODELS = ("fast", "smart")


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw one or two logical groups with up to six routes, two models and a managed key for all of them."""
    groups = [f"group-{number}" for number in range(draw(st.integers(1, 2)))]
    routes = [
        {
            "name": f"route-{number}",
            "logical_group": draw(st.sampled_from(groups)),
            "shadow_host": draw(st.sampled_from(["east", "west"])),
            "shadow_group": f"shadow-{number}",
            "shadow_group_id": str(number),
            "gateway_key": f"key-{draw(st.integers(0, 3))}",
            "gateway_key_version": "1",
            "priority": draw(st.integers(0, 2)),
            "weight": draw(st.integers(1, 5)),
            "enabled": draw(st.booleans()),
        }
        for number in range(draw(st.integers(0, 6)))
    ]
    return {
        "logical_groups": [{"name": group} for group in groups],
        "shadow_hosts": [
            {"name": name, "driver": "sub2api", "data_endpoint": f"http://{name}.test"}
            for name in ("east", "west")
        ],
        "routes": routes,
        "model_bindings": list(_bindings(draw, groups, routes)),
        "managed_keys": [{"name": "team", "logical_groups": groups, "versions": ["1"]}],
    }


def _bindings(draw: st.DrawFn, groups: list[str], routes: list[dict[str, Any]]) -> Any:
    for group in groups:
        own = [route["name"] for route in routes if route["logical_group"] == group]
        for model in MODELS:
            bound = draw(st.lists(st.sampled_from(own), unique=True)) if own else []
            if bound:
                yield {
                    "name": f"{group}-{model}",
                    "logical_group": group,
                    "public_model": model,
                    "routes": [{"route": name, "shadow_model": f"up-{name}"} for name in bound],
                }
