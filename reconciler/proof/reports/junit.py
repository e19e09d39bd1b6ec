"""A report as JUnit XML: each chain is a test case, so that CI shows which one broke, and where.

    proved                 passes
    broken, disproved      <failure>
    inconclusive, stale    <skipped>: never a failure, and the run's exit code (3) says that it is no success either

Kept to what the strictest reader takes: no properties of a test case (ids are lines of its output), no attributes of
anybody's own.

Source of the format: https://github.com/testmoapp/junitxml, and junit-10.xsd of https://github.com/jenkinsci/xunit-plugin
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reconciler.proof.drills.model import DrillResult
from reconciler.proof.model import Status
from reconciler.proof.outcome import needed
from reconciler.proof.reports.model import Chain, ProofReport, State, Trouble
from reconciler.proof.reports.words import safe

FAILED = (State.BROKEN, State.DISPROVED)


def render(report: ProofReport) -> str:
    """Return the XML document."""
    root = Element("testsuites", name="reconcile")
    told = {trouble.path: trouble for trouble in report.troubles if trouble.path is not None}
    for choice in report.choices:
        suite = _suite(root, f"routes of {choice.logical_group}, model {choice.public_model}", report)
        for chain in choice.chains:
            name = f"{choice.public_model} by {chain.name}"
            _chain(suite, f"route.{choice.logical_group}", name, chain, told.get(chain.proof.key))
    for host in report.hosts:
        suite = _suite(root, f"accounts of host {host.host}", report)
        for chain in host.chains:
            name = f"{chain.proof.key.model} by {chain.name}"
            _chain(suite, f"account.{host.host}", name, chain, told.get(chain.proof.key))
    _others(root, report)
    for suite in root:
        _count(suite, suite)
    _count(root, root)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _others(root: Element, report: ProofReport) -> None:
    if report.drills:
        suite = _suite(root, "drills", report)
        for drill in report.drills:
            _drill(suite, drill)
    rest = [each for each in report.troubles if each.path is None and not each.subject.startswith("drill ")]
    if rest:
        suite = _suite(root, "manifests", report)
        for trouble in rest:
            _outcome(_case(suite, "manifest", trouble.subject, 0.0), trouble)


def _suite(root: Element, name: str, report: ProofReport) -> Element:
    return SubElement(
        root, "testsuite", name=safe(name), timestamp=report.made_at.isoformat(timespec="seconds")
    )


def _case(suite: Element, classname: str, name: str, seconds: float) -> Element:
    time = f"{seconds:.3f}"
    return SubElement(suite, "testcase", classname=safe(f"reconcile.{classname}"), name=safe(name), time=time)


def _chain(suite: Element, classname: str, name: str, chain: Chain, trouble: Trouble | None) -> None:
    case = _case(suite, classname, name, sum(link.duration_ms for link in chain.proof.links) / 1000)
    if trouble is not None:
        _outcome(case, trouble)
    SubElement(case, "system-out").text = "\n".join(_lines(chain))


def _lines(chain: Chain) -> Iterable[str]:
    """Yield the chain in text: every link, also those that were not reached."""
    for link in needed(chain.proof):
        result = chain.proof.link(link)
        if result is None:
            yield f"{link.value:<11} not tried"
        else:
            said = (
                f"{result.reason.value} {result.message}"
                if result.status is not Status.HOLDS
                else result.message
            )
            yield f"{link.value:<11} {result.status.value:<13} {safe(said)}".rstrip()
    if chain.named is not None:
        yield f"named by usage row {safe(chain.proof.usage_log_id)}: {safe(chain.named)}"
    for key, value in _facts(chain):
        if value is not None:
            yield f"{key}: {safe(value)}"


def _facts(chain: Chain) -> Iterable[tuple[str, object]]:
    """Yield what finds the request again: on the gateway, on the host, among the evidence."""
    proof = chain.proof
    yield "verdict", chain.state.value
    yield "grade", proof.grade.value
    yield "revision", proof.revision
    yield "requestId", proof.request_id
    yield "correlationId", proof.correlation_id
    yield "usageLogId", proof.usage_log_id
    yield "observedAt", proof.observed_at.isoformat() if proof.observed_at else None
    yield "evidence", chain.evidence


def _drill(suite: Element, drill: DrillResult) -> None:
    key = drill.key
    case = _case(
        suite, f"drill.{key.drill}", f"{key.what} by {key.subject}" if key.model else key.subject, 0.0
    )
    if drill.status is not Status.HOLDS:
        state = State.BROKEN if drill.status is Status.BROKEN else State.INCONCLUSIVE
        _outcome(case, Trouble(state, "", drill.reason.value, drill.message))


def _outcome(case: Element, trouble: Trouble) -> None:
    message = f"{trouble.reason}: {trouble.message}"
    if trouble.state not in FAILED:
        SubElement(case, "skipped", message=safe(f"{trouble.state.value}: {message}"))
        return
    failure = SubElement(
        case, "failure", type=trouble.reason, message=safe(f"{trouble.state.value}: {message}")
    )
    failure.text = "\n".join(safe(line) for line in (message, trouble.advice) if line)


def _count(node: Element, within: Element) -> None:
    cases = list(within.iter("testcase"))
    node.set("tests", str(len(cases)))
    node.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    node.set("errors", "0")
    if node.tag == "testsuite":
        node.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    node.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")
