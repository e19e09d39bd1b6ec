from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.plan.guard import check
from reconciler.plan.markdown import MAX_CHARACTERS
from reconciler.plan.model import ImpactRow, Plan
from reconciler.plan.render import to_markdown
from tests.plan.cast import HOUSE, account, foreign, group, make, route, running
from tests.plan.test_escape import GFM, NASTY, tags

ALLOWED = {"h3", "h4", "p", "strong", "em", "code", "sub", "br", "ul", "li", "details", "summary"} | {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}


def risky() -> Plan:
    """A priority that turns the order round, an account that goes, an account that comes, a conflict."""
    before = [*HOUSE, account("beta")]
    after = [*HOUSE, account("gamma"), group("theirs")]
    after = [route(weight=5) if each.key.kind == "Route" else each for each in after]
    state = running(*before)
    return make(*after, **{**state, "observed": [*state["observed"], foreign(group("theirs"))]})


def test_the_comment_tells_the_plan() -> None:
    plan = risky()
    lines = to_markdown(plan, check(plan)).splitlines()

    assert lines[2] == "1 to create, 1 to update, 1 to delete, 0 to adopt; 7 unchanged, 1 skipped."
    assert lines[6] == (
        "- ProviderAccount/beta is deleted while it serves products/fast; "
        "disable or unbind its routes first, in a change of its own (`--allow-serving-delete`)"
    )
    assert (
        "| `products` | `fast` | 1. `east-chat` → `east/chat` as `gpt-4o` (priority 10, weight 100) "
        "| 1. `east-chat` → `east/chat` as `gpt-4o` (priority 10, weight 5) |"
    ) in lines
    assert (
        "| medium | ~ update | `Route/east-chat` on `control` | `manifests/east.yaml:12` "
        "| at promote, once proved | it changes who serves products/fast |"
    ) in lines
    assert "| `weight` | `100` | `5` |" in lines
    assert any(
        line.startswith("- `ShadowGroup/theirs`: 'theirs' (id 99) exists on host/east") for line in lines
    )


def test_risky_changes_come_first() -> None:
    risks = re.findall(r"^\| (\**\w+\**) \| [+~@-] ", to_markdown(risky()), re.MULTILINE)

    assert risks == ["**high**", "medium", "medium"]


def test_a_comment_is_markup_of_ours_only() -> None:
    assert tags(GFM.render(to_markdown(risky(), check(risky())))) <= ALLOWED


def test_a_plan_without_changes_is_short() -> None:
    comment = to_markdown(make(*HOUSE, **running(*HOUSE)))

    assert comment.startswith("### Routing plan\n\nNothing to change; 8 unchanged.\n")
    assert "|" not in comment


@given(NASTY)
@settings(max_examples=50)
def test_nobodys_text_becomes_markup(text: str) -> None:
    model = replace(make(*HOUSE).impact[0].after[0], route=text, shadow_model=text)
    plan = make(
        group(name=text, settings={text: text, "list": [text]}), account(models=[text]), warnings=(text,)
    )
    plan = replace(plan, impact=(ImpactRow(text, text, (model,), (model,)),))
    rendered = GFM.render(to_markdown(plan))

    assert tags(rendered) <= ALLOWED
    assert len({row.count("<td") for row in rendered.split("<tr>") if "<td" in row}) <= 3


def test_a_comment_never_gets_too_long_and_says_what_is_missing() -> None:
    many = [group(f"group-{number}", note="x" * 300) for number in range(2000)]
    plan = make(*many, warnings=tuple(f"warning {number} {'y' * 300}" for number in range(500)))
    comment = to_markdown(plan)

    assert len(comment) <= MAX_CHARACTERS
    assert "more, not shown here" in comment
    assert comment.startswith("### Routing plan\n\n2000 to create")
    assert comment.count("<details>") == comment.count("</details>")
    assert plan.digest[:12] in comment


@given(st.integers(500, 6000))
@settings(max_examples=40)
def test_any_limit_is_kept(limit: int) -> None:
    comment = to_markdown(risky(), check(risky()), limit=limit)

    assert len(comment) <= limit
    assert comment.count("<details>") == comment.count("</details>")
