"""One chain as markup: drawn link by link, or as a row of signs. Nothing is told by colour alone."""

from __future__ import annotations

from reconciler.proof.model import Link, LinkResult, PathKey, Status
from reconciler.proof.outcome import needed
from reconciler.proof.reports.markup import SPACE, Child, Html, el
from reconciler.proof.reports.model import Chain, State

SIGNS = {Status.HOLDS: "✓", Status.BROKEN: "✕", Status.INCONCLUSIVE: "?", Status.NOT_TRIED: "·"}
STATE_SIGNS = {
    State.PROVED: "✓",
    State.STALE: "!",
    State.INCONCLUSIVE: "?",
    State.BROKEN: "✕",
    State.DISPROVED: "≠",
}


def anchor(path: PathKey) -> str:
    """Return the fragment that names a chain on the page; two paths never share one."""
    return "chain-" + "\x1f".join(path).encode("utf-8", "replace").hex()


def pill(state: State) -> Html:
    """Return a verdict as sign and word."""
    return el("span", f"{STATE_SIGNS[state]} {state.value}", class_="pill")


def drawn(chain: Chain) -> Html:
    """Return the chain drawn, each link with its sign and name, and how it is or how long it took."""
    links = ((link, chain.proof.link(link)) for link in needed(chain.proof))
    return el("ol", *(_drawn(link, result) for link, result in links), class_="chain")


def _drawn(link: Link, result: LinkResult | None) -> Html:
    status = _status(result)
    said = (
        f"{result.reason.value}: {result.message}" if result and status is not Status.HOLDS else status.value
    )
    return el(
        "li",
        sign(status),
        el("div", el("div", link.value, class_="word"), _below(status, result)),
        class_=status.value,
        title=f"{link.value}: {said}",
    )


def _below(status: Status, result: LinkResult | None) -> Child:
    word = status.value.replace("-", " ")
    if status is not Status.HOLDS:
        return el("div", word, class_="how")
    spent = f" {result.duration_ms:.0f} ms" if result and result.duration_ms else None
    return el("div", el("span", word, class_="unseen"), spent, class_="how")


def row_of_signs(chain: Chain) -> Html:
    """Return the chain as one sign per link."""
    found = [(link, _status(chain.proof.link(link))) for link in needed(chain.proof)]
    said = ", ".join(f"{link.value} {status.value.replace('-', ' ')}" for link, status in found)
    signs = [el("span", SIGNS[status], class_=status.value) for _, status in found]
    return el("span", *signs, class_="signs", role="img", aria_label=said, title=said)


def sign(status: Status) -> Html:
    """Return the sign of one link or drill, for the eye; its word stands beside it."""
    return el("span", SIGNS[status], class_=f"sign {status.value}", aria_hidden="true")


def _status(result: LinkResult | None) -> Status:
    return result.status if result else Status.NOT_TRIED


def facts(found: dict[str, str | None]) -> Child:
    """Return names and values as a list; None when there is no value."""
    shown = [
        el("div", el("dt", name), SPACE, el("dd", el("code", value)))
        for name, value in found.items()
        if value is not None
    ]
    return el("dl", *shown, class_="ids") if shown else None
