"""What is wrong, as markup: equal troubles told once, each path with its chain drawn and its broken link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.proof.model import PathKey
from reconciler.proof.reports.drawing import anchor, drawn, pill, row_of_signs
from reconciler.proof.reports.markup import SPACE, Child, Html, el, join
from reconciler.proof.reports.model import Chain, ProofReport, State, Trouble
from reconciler.proof.reports.words import many

DRAWN = 4
"""Chains of one trouble that are drawn in full; of a dead host's two hundred, the rest are one line each."""

Chains = Mapping[PathKey, Chain]


def what_is_wrong(report: ProofReport) -> Child:
    """Return the section, worst first; None when nothing is wrong."""
    if not report.troubles:
        return None
    chains = {chain.proof.key: chain for chain in report.chains}
    told: dict[tuple[State, str, str], list[Trouble]] = {}
    for trouble in report.troubles:
        told.setdefault((trouble.state, trouble.reason, trouble.advice), []).append(trouble)
    return join(
        el("h2", "What is wrong"),
        el("ul", *(_told(same, chains) for same in told.values()), class_="troubles"),
    )


def _told(same: Sequence[Trouble], chains: Chains) -> Html:
    first = same[0]
    cases = [_case(trouble, chains) for trouble in same[:DRAWN]]
    return el(
        "li",
        el(
            "p",
            pill(first.state),
            SPACE,
            el("code", first.reason),
            SPACE,
            el("span", many(len(same), "time"), class_="soft") if len(same) > 1 else None,
        ),
        el("p", first.advice, class_="advice") if first.advice else None,
        el("ul", *cases, class_="cases"),
        _more(same[DRAWN:], chains),
        class_=f"trouble {first.state.value}",
    )


def _case(trouble: Trouble, chains: Chains) -> Html:
    chain = _chain(trouble, chains)
    return el("li", _line(trouble), drawn(chain) if chain else None)


def _more(rest: Sequence[Trouble], chains: Chains) -> Child:
    if not rest:
        return None
    lines = [
        el("li", row_of_signs(chain) if (chain := _chain(trouble, chains)) else None, SPACE, _line(trouble))
        for trouble in rest
    ]
    return el("details", el("summary", f"and {len(rest)} more"), el("ul", *lines, class_="more"))


def _line(trouble: Trouble) -> Html:
    subject = el("span", trouble.subject, class_="what")
    if trouble.path is not None:
        subject = el("a", subject, href=f"#{anchor(trouble.path)}")
    return el("span", subject, SPACE, el("span", trouble.message))


def _chain(trouble: Trouble, chains: Chains) -> Chain | None:
    return chains.get(trouble.path) if trouble.path is not None else None
