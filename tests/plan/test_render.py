from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.guard import check
from reconciler.plan.model import Plan
from reconciler.plan.render import to_json, to_text
from tests.plan.cast import EAST, HOUSE, account, foreign, group, make, route, running


def edited() -> Plan:
    """One update, one refusal, one conflict, one row of impact."""
    off = [route(enabled=False) if each.key.kind == "Route" else each for each in HOUSE]
    state = running(*HOUSE)
    return make(
        *off, group("theirs"), **{**state, "observed": [*state["observed"], foreign(group("theirs"))]}
    )


def document(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_json(plan, check(plan)))
    return found


def test_the_document_has_the_promised_names() -> None:
    plan = document(edited())

    assert {"formatVersion", "digest", "summary", "changes", "impact", "warnings"} <= plan.keys()
    assert plan["formatVersion"] == 1
    assert plan["summary"] == {"create": 0, "update": 1, "delete": 0, "adopt": 0, "noop": 7}


def test_a_change_has_the_promised_names() -> None:
    (change,) = [each for each in document(edited())["changes"] if each["action"] == "update"]

    assert change == {
        "action": "update",
        "kind": "Route",
        "name": "east-chat",
        "plane": "control",
        "class": "revision",
        "risk": "high",
        "reason": "nobody serves products/fast afterwards",
        "source": {"file": "manifests/east.yaml", "line": 12},
        "objectId": "east-chat",
        "serves": ["products/fast"],
        "fields": [{"path": "enabled", "before": True, "after": False, "sensitive": False}],
    }


def test_a_row_of_impact_has_the_promised_names() -> None:
    assert document(edited())["impact"] == [
        {
            "logicalGroup": "products",
            "publicModel": "fast",
            "before": [
                {
                    "route": "east-chat",
                    "shadowHost": "east",
                    "shadowGroup": "chat",
                    "shadowModel": "gpt-4o",
                    "priority": 10,
                    "weight": 100,
                }
            ],
            "after": [],
        }
    ]


def test_skips_and_refusals_say_what_to_do() -> None:
    plan = document(edited())

    (skipped,) = plan["skipped"]
    assert (skipped["kind"], skipped["name"], skipped["plane"]) == ("ShadowGroup", "theirs", EAST)
    assert skipped["reason"] == "ForeignObject"
    assert [refusal["flag"] for refusal in plan["refusals"]] == ["--allow-unroutable"]


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert to_json(edited()) == to_json(edited())
    assert to_json(edited()).endswith(b"}\n")


def test_a_secret_never_reaches_the_document() -> None:
    desired = replace(account(token="canary-upstream-key-1", groups=[]), sensitive=frozenset({"token"}))
    plan = make(desired)

    assert b"canary" not in to_json(plan)
    assert "canary" not in to_text(plan)


def test_the_text_tells_the_plan() -> None:
    plan = edited()

    assert to_text(plan, check(plan)) == (
        """\
0 to create, 1 to update, 0 to delete, 0 to adopt; 7 unchanged, 1 skipped.
  ~ Route/east-chat on control [revision, high risk]  manifests/east.yaml:12
      # nobody serves products/fast afterwards
      enabled: true -> false

Routing, best candidate first:
  products / fast
    - east-chat -> east/chat as gpt-4o (priority 10, weight 100)
    + nobody

Nothing is planned for:
  ShadowGroup/theirs: ForeignObject: 'theirs' (id 99) exists on host/east and is not ours; to take it over, \
annotate the manifest with reconcile.dev/adopt: "99"  manifests/east.yaml:12

Refused:
  logical group products is left without a route for fast (allow with --allow-unroutable)
"""
    )


def test_a_plan_without_changes_says_so() -> None:
    assert to_text(make(*HOUSE, **running(*HOUSE))) == "Nothing to change; 8 unchanged.\n"


def test_a_changed_secret_is_told_without_a_value() -> None:
    desired = [account(fingerprint="fp2") if each.key.kind == "ProviderAccount" else each for each in HOUSE]

    assert "      secret: (changed, not shown)\n" in to_text(make(*desired, **running(*HOUSE)))


@given(st.text(max_size=20))
def test_no_name_moves_the_cursor(text: str) -> None:
    told = to_text(make(group(name=text, settings={text: text}), warnings=(text,)))

    assert all(line.isprintable() for line in told.split("\n"))
