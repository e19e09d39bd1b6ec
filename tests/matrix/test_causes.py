"""The causes by name: each has a reason word of its own, says what to do, is never Ready, and ends the run with 3.

`test_matrix.py` tries every cause on every subject; here is one of each, with the word that scripts and people read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.proof.model import ADVICE, DISPROVED, Reason
from tests.matrix.causes import (
    Cause,
    billed,
    cooling,
    failed_over,
    key_unknown,
    left_behind,
    other_model,
    row_late,
    row_missing,
    sticky_pin,
    upstream_refused,
    wrong_revision,
    wrong_route,
)
from tests.matrix.judged import condition, verified
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import copied, opened

ROOT = Path(__file__).parents[2]
CAUSES: dict[str, tuple[str, str, str, Cause]] = {
    "wrong route by priority": ("ResolvedElsewhere", "False", "near", wrong_route("near")),
    "sticky pin elsewhere": ("StickyElsewhere", "False", "near", sticky_pin("near")),
    "route cooling": ("RouteCooling", "False", "near", cooling("near")),
    "fail-over took over": ("FailedOver", "False", "near", failed_over("near")),
    "upstream refused": ("UpstreamRefused", "False", "spare", upstream_refused("delta")),
    "host answered from another group": (
        "WrongGroup", "False", "near", billed("alpha", "group_id", Reason.WRONG_GROUP),
    ),
    "account not ours": (
        "WrongAccount", "False", "near", billed("alpha", "account_id", Reason.WRONG_ACCOUNT),
    ),
    "another model billed": ("WrongModel", "False", "near", other_model("alpha", "gpt-large")),
    "row late": ("RowLate", "Unknown", "near", row_late("alpha")),
    "row missing": ("NotProved", "Unknown", "near", row_missing("alpha")),
    "gateway key of unknown source": ("GatewayKeyUnknown", "False", "near", key_unknown("near")),
    "revision not the one under test": ("WrongRevision", "False", "near", wrong_revision("near")),
    "temporary entity left behind": ("LeftBehind", "Unknown", "near", left_behind()),
}  # fmt: skip
"""Cause -> the reason word of Ready, its status, the route that shows it, and how it is brought about."""


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_told_by_its_word_with_what_to_do_and_exit_code_3(
    name: str, applied: Path, tmp_path: Path
) -> None:
    word, truth, route, cause = CAUSES[name]

    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            await cause.inject(world)
            report, proofs = await verified(world)

        ready = condition(report, "Route", route, "Ready")
        assert (ready.reason, ready.status) == (word, truth)
        assert ready.message.endswith(f"; {ADVICE[Reason(word)]}")
        disproved = {proof.key.route for proof in proofs.values() if proof.disproved and proof.key.route}
        assert disproved == ({route} if Reason(word) in DISPROVED else set())
        assert report.exit_code == 3

    run(main)


def test_no_two_causes_share_a_word_or_a_sentence_and_the_on_call_page_has_them_all() -> None:
    words = [word for word, _, _, _ in CAUSES.values()]
    page = (ROOT / "docs/on-call.md").read_text()

    assert len(set(words)) == len({ADVICE[Reason(word)] for word in words}) == 13
    assert all(f"| `{word}` | " in page for word in words)


def test_no_two_reasons_share_a_sentence() -> None:
    assert len(set(ADVICE.values())) == len(ADVICE)
