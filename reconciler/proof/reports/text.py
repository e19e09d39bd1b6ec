"""A report as plain text: one line per chain, one sign per link, and every trouble with what to do."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.proof.model import LinkResult, Status
from reconciler.proof.outcome import needed
from reconciler.proof.reports.model import Chain, ProofReport, State
from reconciler.proof.reports.words import ago, many, moment, safe

SIGNS = {Status.HOLDS: "+", Status.BROKEN: "X", Status.INCONCLUSIVE: "?", Status.NOT_TRIED: "."}


def render(report: ProofReport) -> str:
    """Return the report as lines."""
    return "\n".join(_lines(report)) + "\n"


def headline(report: ProofReport) -> str:
    """Return the whole report in one sentence."""
    chains = len(report.chains)
    if not chains and not report.troubles:
        return "Nothing is known yet"
    proved = report.count(State.PROVED)
    if not report.troubles:
        return f"All {many(chains, 'path')} proved"
    if proved == chains:
        return f"All {many(chains, 'path')} proved, but {many(len(report.troubles), 'other trouble')}"
    return f"{chains - proved} of {many(chains, 'path')} not proved"


def _lines(report: ProofReport) -> Iterator[str]:
    yield f"{headline(report)}; {report.ready} of {many(report.asked, 'manifest')} Ready; revision {report.revision}"
    yield f"as of {moment(report.made_at)}"
    for trouble in report.troubles:
        yield ""
        yield f"{trouble.state.value.upper()}  {safe(trouble.subject)}: {trouble.reason}: {safe(trouble.message)}"
        if trouble.advice:
            yield f"  -> {trouble.advice}"
    for choice in report.choices:
        yield ""
        yield f"{safe(choice.logical_group)} / {safe(choice.public_model)}"
        yield from (_row(chain, report) for chain in choice.chains)
    for host in report.hosts:
        yield ""
        yield f"accounts of host {safe(host.host)}"
        yield from (_row(chain, report) for chain in host.chains)
    if report.drills:
        yield ""
        yield "drills"
    for drill in report.drills:
        what = f"{drill.key.drill} {drill.key.what}"
        old = ago(drill.at, report.made_at)
        yield f"  {SIGNS[drill.status]}  {safe(what):<40} {safe(drill.message, 120)}, {old}"
    yield ""
    yield "links: configured, runtime, resolved, served, proved, clean; + holds, X broken, ? inconclusive, . not tried"


def _row(chain: Chain, report: ProofReport) -> str:
    signs = "".join(_sign(chain.proof.link(link)) for link in needed(chain.proof))
    name = chain.name if chain.proof.key.route else f"{chain.name} {chain.proof.key.model}"
    named = (
        chain.named if chain.named is not None else (chain.deciding.reason.value if chain.deciding else "-")
    )
    old = ago(chain.proof.observed_at, report.made_at)
    return f"  {signs:<6}  {safe(name):<40} {chain.state.value:<12} {safe(named, 120)}, {old}"


def _sign(result: LinkResult | None) -> str:
    return SIGNS[result.status if result else Status.NOT_TRIED]
