"""A report as one page: no script, nothing from elsewhere, every chain drawn link by link.

Made for a glance at three in the morning: first whether something is wrong, then what and what to do, then every
chain. Nothing is told by colour alone.
"""

from __future__ import annotations

import json
from importlib.resources import files

from reconciler.proof.model import Link, LinkResult, PathKey, Status
from reconciler.proof.outcome import needed
from reconciler.proof.reports.markup import SPACE, Child, Html, el, join, style
from reconciler.proof.reports.model import Chain, Choice, HostAccounts, ProofReport, State, Trouble
from reconciler.proof.reports.text import headline
from reconciler.proof.reports.words import age, many, moment

SIGNS = {Status.HOLDS: "✓", Status.BROKEN: "✕", Status.INCONCLUSIVE: "?", Status.NOT_TRIED: "·"}
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
        _troubles(report),
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
        el("li", el("b", str(report.count(each))), each.value, class_=f"{each.value} lit")
        for each in State
        if report.count(each) or each is State.PROVED
    ]
    tiles.append(el("li", el("b", f"{report.ready}/{report.asked}"), "manifests Ready"))
    return el(
        "div",
        el("h1", headline(report)),
        el("p", about, class_="soft"),
        el("ul", *tiles, class_="tiles"),
        class_=f"banner {state}",
    )


def _troubles(report: ProofReport) -> Child:
    if not report.troubles:
        return None
    return join(
        el("h2", "What is wrong"),
        el("ul", *(_trouble(trouble) for trouble in report.troubles), class_="troubles"),
    )


def _trouble(trouble: Trouble) -> Html:
    subject = el("span", trouble.subject, class_="what")
    if trouble.path is not None:
        subject = el("a", subject, href=f"#{anchor(trouble.path)}")
    return el(
        "li",
        el("p", el("span", trouble.state.value, class_="pill"), SPACE, subject),
        el("p", el("code", trouble.reason), SPACE, trouble.message),
        el("p", trouble.advice, class_="advice") if trouble.advice else None,
        class_=f"trouble {trouble.state.value}",
    )


def anchor(path: PathKey) -> str:
    """Return the fragment that names a chain on the page; two paths never share one."""
    return "chain-" + "\x1f".join(path).encode("utf-8", "replace").hex()


def _routes(report: ProofReport) -> Child:
    if not report.choices:
        return None
    return join(el("h2", "Routes"), *(_choice(choice, report) for choice in report.choices))


def _choice(choice: Choice, report: ProofReport) -> Html:
    title = el("h3", el("span", f"{choice.logical_group} /", class_="group"), SPACE, choice.public_model)
    tiers = sorted({_before(chain) for chain in choice.chains})
    cards = (_card(chain, str(tiers.index(_before(chain)) + 1), report) for chain in choice.chains)
    return el("section", title, el("ol", *cards, class_="cards"))


def _before(chain: Chain) -> int:
    return len((chain.proof.intended or {}).get("better", ()))


def _card(chain: Chain, rank: str, report: ProofReport) -> Html:
    return el(
        "li",
        el(
            "header",
            el("span", rank, class_="rank", title="order of trial"),
            el("span", chain.name, class_="name"),
            el("span", chain.state.value, class_="pill"),
            el("span", _named(chain), class_="named"),
            el("span", _age(chain, report), class_="age"),
        ),
        el("ol", *(_link(link, chain.proof.link(link)) for link in needed(chain.proof)), class_="chain"),
        _why(chain, report),
        _ids(chain),
        _exchanges(chain),
        class_=f"card {chain.state.value}",
        id=anchor(chain.proof.key),
    )


def _named(chain: Chain) -> str:
    if chain.named is not None:
        return chain.named
    intended = chain.proof.intended
    if intended is None:
        return ""
    return f"intended: {intended['host']} / {intended['group']} as {intended['shadowModel']}"


def _age(chain: Chain, report: ProofReport) -> str:
    old = f"{age(chain.proof.observed_at, report.made_at)} ago"
    return f"{chain.proof.grade.value}, {old}" if chain.state is State.PROVED else old


def _link(link: Link, result: LinkResult | None) -> Html:
    status = result.status if result else Status.NOT_TRIED
    spent = f"{result.duration_ms:.0f} ms" if result and result.duration_ms else None
    said = (
        f"{result.reason.value}: {result.message}" if result and status is not Status.HOLDS else status.value
    )
    return el(
        "li",
        el("span", SIGNS[status], class_="sign", aria_hidden="true"),
        el(
            "div",
            el("div", link.value, class_="word"),
            el("div", spent if status is Status.HOLDS else status.value.replace("-", " "), class_="ms"),
        ),
        class_=status.value,
        title=f"{link.value}: {said}",
    )


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
    known = {
        "request": proof.request_id,
        "host correlation": proof.correlation_id,
        "usage row": proof.usage_log_id,
        "observed": moment(proof.observed_at) if proof.observed_at else None,
        "evidence": chain.evidence,
    }
    shown = [
        el("div", el("dt", name), el("dd", el("code", value)))
        for name, value in known.items()
        if value is not None
    ]
    return el("dl", *shown, class_="ids") if shown else None


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
    return el("section", title, el("div", el("table", head, el("tbody", *rows)), class_="scroll"))


def _account(chain: Chain, report: ProofReport) -> Html:
    links = [(link, chain.proof.link(link)) for link in needed(chain.proof)]
    signs = [_sign(link, result) for link, result in links]
    return el(
        "tr",
        el("td", chain.name),
        el("td", chain.proof.key.model),
        el("td", *signs, class_="signs"),
        el("td", el("span", chain.state.value, class_="pill"), _why(chain, report)),
        el("td", el("code", chain.proof.correlation_id or "-")),
        el("td", _age(chain, report), class_="age"),
        class_=chain.state.value,
        id=anchor(chain.proof.key),
    )


def _sign(link: Link, result: LinkResult | None) -> Html:
    status = result.status if result else Status.NOT_TRIED
    return el("span", SIGNS[status], class_=status.value, title=f"{link.value}: {status.value}")


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
                el("span", SIGNS[each.status], class_=each.status.value, title=each.status.value),
                class_="signs",
            ),
            el("td", each.message or each.reason.value),
            el("td", f"{age(each.at, report.made_at)} ago", class_="age"),
        )
        for each in report.drills
    ]
    head = el("thead", el("tr", *(el("th", word) for word in words)))
    return join(el("h2", "Drills"), el("div", el("table", head, el("tbody", *rows)), class_="scroll"))


def _legend() -> Html:
    entries = [part for link, said in MEANING.items() for part in (el("dt", link.value), el("dd", said))]
    signs = "✓ holds, ✕ broken, ? could not be judged, · not reached."
    ranks = f"The number before a route is its place in the order of trial; {many(6, 'link')} make a chain."
    return el(
        "footer",
        el("strong", "How to read this"),
        el("dl", *entries),
        el("p", f"{signs} {ranks}"),
        class_="legend",
    )
