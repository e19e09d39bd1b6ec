"""A report as one page: no script, nothing from elsewhere, every chain drawn link by link.

Made for a glance at three in the morning: first whether something is wrong, then what, in which link, and what to do,
then every chain, those that failed first. Nothing is told by colour alone.
"""

from __future__ import annotations

import json
from importlib.resources import files

from reconciler.proof.model import Link
from reconciler.proof.reports.drawing import STATE_SIGNS, anchor, drawn, facts, pill, row_of_signs, sign
from reconciler.proof.reports.markup import SPACE, Child, Html, el, join, style
from reconciler.proof.reports.model import SEVERITY, Chain, Choice, HostAccounts, ProofReport, State
from reconciler.proof.reports.text import headline
from reconciler.proof.reports.words import ago, many, moment
from reconciler.proof.reports.wrong import what_is_wrong

MEANING = {
    Link.CONFIGURED: "logical group, route and binding stand in the revision; host, group, accounts and key are there",
    Link.RUNTIME: "the gateway's state is readable, and the route is not cooling",
    Link.RESOLVED: "the resolver names the intended route, host, group and model",
    Link.SERVED: "a real request was answered, and the decision log shows that this route served it",
    Link.PROVED: "the host's usage log billed that very request to the intended group, account and model",
    Link.CLEAN: "whatever the proof created is gone again",
}
# No script, no frame, no request: even if some text were taken for markup, it could do nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

OPEN_AT_MOST = 10
"""Failed chains whose details stand open from the start; of more, the reader chooses."""


def render(report: ProofReport) -> str:
    """Return the whole page."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{headline(report)} - reconcile"),
        style(files("reconciler.proof.reports").joinpath("page.css").read_text("utf-8")),
    )
    body = el(
        "main",
        _banner(report),
        what_is_wrong(report),
        _only_wrong(report),
        _routes(report),
        _accounts(report),
        _drills(report),
        _legend(),
    )
    return "<!doctype html>\n" + el("html", head, el("body", body), lang="en") + "\n"


def _banner(report: ProofReport) -> Html:
    state = report.worst.value if report.worst else "unknown"
    about = (
        f"revision {report.revision if report.revision is not None else '-'}, as of {moment(report.made_at)}"
    )
    tiles = [
        el(
            "li",
            el("b", str(report.count(each))),
            f"{STATE_SIGNS[each]} {each.value}",
            class_=f"{each.value} lit",
        )
        for each in reversed(State)
        if report.count(each) or each is State.PROVED
    ]
    tiles.append(el("li", el("b", f"{report.ready}/{report.asked}"), "manifests Ready"))
    mark = STATE_SIGNS[report.worst] if report.worst else "-"
    return el(
        "header",
        el("h1", el("span", mark, class_="mark", aria_hidden="true"), SPACE, headline(report)),
        el("p", about, class_="soft"),
        el("ul", *tiles, class_="tiles"),
        class_=f"banner {state}",
    )


def _only_wrong(report: ProofReport) -> Child:
    """Return the box that hides what is proved: it works by the style sheet, since the page has no script."""
    wrong = _wrong(report)
    if not wrong or not report.count(State.PROVED):
        return None
    said = f"show only what is not proved ({wrong} of {many(len(report.chains), 'path')})"
    box = el("input", type="checkbox", id="only-wrong")
    return join(box, el("label", said, **{"for": "only-wrong"}))


def _wrong(report: ProofReport) -> int:
    return len(report.chains) - report.count(State.PROVED)


def _routes(report: ProofReport) -> Child:
    if not report.choices:
        return None
    # Sorting is stable: among the equally bad, the order of names stays.
    worst_first = sorted(report.choices, key=lambda choice: -_severity(choice.chains))
    return join(el("h2", "Routes"), *(_choice(choice, report) for choice in worst_first))


def _severity(chains: tuple[Chain, ...]) -> int:
    return max(SEVERITY[chain.state] for chain in chains)


def _section(chains: tuple[Chain, ...], *children: Child) -> Html:
    return el("section", *children, class_="wrong" if _severity(chains) else "fine")


def _choice(choice: Choice, report: ProofReport) -> Html:
    title = el("h3", el("span", f"{choice.logical_group} /", class_="group"), SPACE, choice.public_model)
    tiers = sorted({_before(chain) for chain in choice.chains})
    cards = (_card(chain, str(tiers.index(_before(chain)) + 1), report) for chain in choice.chains)
    return _section(choice.chains, title, el("ol", *cards, class_="cards"))


def _before(chain: Chain) -> int:
    return len((chain.proof.intended or {}).get("better", ()))


def _card(chain: Chain, rank: str, report: ProofReport) -> Html:
    summary = el(
        "summary",
        el("span", rank, class_="rank", title="order of trial"),
        el("span", chain.name, class_="name"),
        pill(chain.state),
        row_of_signs(chain),
        el("span", _named(chain), class_="named"),
        el("span", _age(chain, report), class_="age"),
    )
    rest = (drawn(chain), _why(chain, report), _ids(chain), _exchanges(chain))
    return el(
        "li",
        el("details", summary, *rest, open="" if _stands_open(chain, report) else None),
        class_=f"card {chain.state.value}",
        id=anchor(chain.proof.key),
    )


def _stands_open(chain: Chain, report: ProofReport) -> bool:
    """True for what does not hold, unless there is so much of it that a list is easier to read."""
    return chain.state is not State.PROVED and _wrong(report) <= OPEN_AT_MOST


def _named(chain: Chain) -> str:
    if chain.named is not None:
        return chain.named
    intended = chain.proof.intended
    if intended is None:
        return ""
    return f"intended: {intended['host']} / {intended['group']} as {intended['shadowModel']}"


def _age(chain: Chain, report: ProofReport) -> str:
    old = ago(chain.proof.observed_at, report.made_at)
    return f"{chain.proof.grade.value}, {old}" if chain.state is State.PROVED else old


def _why(chain: Chain, report: ProofReport) -> Child:
    trouble = next((each for each in report.troubles if each.path == chain.proof.key), None)
    if trouble is None:
        return None
    return el(
        "div",
        el("p", el("code", trouble.reason), SPACE, trouble.message),
        el("p", trouble.advice, class_="advice") if trouble.advice else None,
        class_="why",
    )


def _ids(chain: Chain) -> Child:
    proof = chain.proof
    observed = moment(proof.observed_at) if proof.observed_at else None
    return facts(
        {
            "request": proof.request_id,
            "host correlation": proof.correlation_id,
            "usage row": proof.usage_log_id,
            "observed": observed,
            "evidence": chain.evidence,
        }
    )


def _exchanges(chain: Chain) -> Html:
    rows = [
        el(
            "tr",
            el("th", result.link.value),
            el("td", result.message or result.reason.value),
            el("td", el("code", _compact(result.asked))),
            el("td", el("code", _compact(result.answered))),
        )
        for result in chain.proof.links
    ]
    head = el("thead", el("tr", *(el("th", word) for word in ("link", "said", "asked", "answered"))))
    table = el("div", el("table", head, el("tbody", *rows)), class_="scroll")
    return el("details", el("summary", "what was asked and what came back"), table)


def _compact(body: object) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(", ", ": "), default=str) if body else ""


def _accounts(report: ProofReport) -> Child:
    if not report.hosts:
        return None
    intro = "Each account was asked by itself, through a temporary group that only it serves."
    return join(
        el("h2", "Accounts"), el("p", intro, class_="soft"), *(_host(host, report) for host in report.hosts)
    )


def _host(host: HostAccounts, report: ProofReport) -> Html:
    words = ("account", "model", "served, proved, clean", "verdict", "host correlation", "proved")
    head = el("thead", el("tr", *(el("th", word) for word in words)))
    rows = (_account(chain, report) for chain in host.chains)
    title = el("h3", el("span", "host", class_="group"), SPACE, host.host)
    return _section(host.chains, title, el("div", el("table", head, el("tbody", *rows)), class_="scroll"))


def _account(chain: Chain, report: ProofReport) -> Html:
    return el(
        "tr",
        el("td", chain.name),
        el("td", chain.proof.key.model),
        el("td", row_of_signs(chain)),
        el("td", pill(chain.state), _why(chain, report)),
        el("td", el("code", chain.proof.correlation_id or "-")),
        el("td", _age(chain, report), class_="age"),
        class_=chain.state.value,
        id=anchor(chain.proof.key),
    )


def _drills(report: ProofReport) -> Child:
    if not report.drills:
        return None
    words = ("drill", "of", "", "what happened", "when")
    rows = [
        el(
            "tr",
            el("td", each.key.drill),
            el("td", each.key.what),
            el(
                "td",
                el("span", sign(each.status), SPACE, each.status.value.replace("-", " "), class_="signs"),
            ),
            el("td", each.message or each.reason.value),
            el("td", ago(each.at, report.made_at), class_="age"),
        )
        for each in report.drills
    ]
    head = el("thead", el("tr", *(el("th", word) for word in words)))
    return join(el("h2", "Drills"), el("div", el("table", head, el("tbody", *rows)), class_="scroll"))


def _legend() -> Html:
    entries = [part for link, said in MEANING.items() for part in (el("dt", link.value), el("dd", said))]
    signs = (
        "A link ✓ holds, is ✕ broken, ? could not be judged, or · was not reached. "
        "A path is ✓ Proved, ! Stale, ? Inconclusive, ✕ Broken, or ≠ Disproved: billed to something else."
    )
    ranks = f"The number before a route is its place in the order of trial; {many(6, 'link')} make a chain."
    return el(
        "footer",
        el("strong", "How to read this"),
        el("dl", *entries),
        el("p", f"{signs} {ranks}"),
        class_="legend",
    )
