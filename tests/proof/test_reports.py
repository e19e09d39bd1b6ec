"""Reports tell every chain and every trouble once, in order, and hostile names stay text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.proof.drills.model import DrillKey, DrillReason, DrillResult
from reconciler.proof.model import Link, PathKey, PathProof
from reconciler.proof.model import Status as LinkStatus
from reconciler.proof.reports import html, junit, text
from reconciler.proof.reports.document import document
from reconciler.proof.reports.drawing import SIGNS, STATE_SIGNS, anchor
from reconciler.proof.reports.markup import Html, el
from reconciler.proof.reports.model import ProofReport, State, gather
from reconciler.state.model import TOO_OLD, Condition, Status
from tests.proof import cast

NOW = cast.NOW + timedelta(minutes=42)
PROOFS = cast.every_kind_of_proof()
HOSTILE = "</script></style></title><img src=x onerror=alert(1)>\"'`&\u202e\x00\x1b[31m]]>"


def status(
    kind: str, name: str, *proofs: PathProof, ready: str = "True", reason: str = "Ready", message: str = ""
) -> Status:
    truth = {"True": "True", "False": "False"}.get(ready, "Unknown")
    condition = Condition("Ready", truth, reason, message)  # type: ignore[arg-type]  # one of the three words
    return Status(
        "routing.reconcile.dev/v1", kind, name, 1, 2, (condition,), tuple(each.to_json() for each in proofs)
    )


def of(proof: PathProof) -> Status:
    kind = "Route" if proof.key.route else "ProviderAccount"
    return status(kind, proof.key.route or proof.key.account, proof)


def report(
    *proofs: PathProof, also: Sequence[Status] = (), drills: Sequence[DrillResult] = (), now: datetime = NOW
) -> ProofReport:
    return gather([*(of(proof) for proof in proofs), *also], drills=drills, now=now)


def candidate(
    route: str, *better: str, model: str = "smart", group: str = "chat", **how: object
) -> PathProof:
    wanted = cast.overflow(
        key=PathKey(route, model), public_model=model, logical_group=group, better=frozenset(better)
    )
    return cast.route_proof(wanted, **how)  # type: ignore[arg-type]  # as route_proof takes them


def drill(state: LinkStatus, reason: DrillReason = DrillReason.OK, model: str = "smart") -> DrillResult:
    return DrillResult(DrillKey("failover", "chat", model, "chat-east"), state, reason, "it said", cast.NOW)


# What is gathered


def test_candidates_stand_in_the_order_of_trial_under_their_group_and_model() -> None:
    found = report(
        candidate("zulu"),
        candidate("alpha", "zulu", "mike"),
        candidate("mike", "zulu"),
        candidate("echo", model="fast"),
        candidate("echo", model="mini", group="batch"),
    )

    assert [
        (each.logical_group, each.public_model, [c.name for c in each.chains]) for each in found.choices
    ] == [
        ("batch", "mini", ["echo"]),
        ("chat", "fast", ["echo"]),
        ("chat", "smart", ["zulu", "mike", "alpha"]),
    ]


def test_each_chain_is_there_once_though_many_manifests_show_it() -> None:
    proof = cast.route_proof()
    shown = [status(kind, "x", proof) for kind in ("LogicalGroup", "ModelBinding", "ShadowGroup")]

    assert len(report(proof, also=shown).chains) == 1


def test_accounts_stand_under_their_host() -> None:
    found = report(PROOFS["account proved"], PROOFS["proved"])

    assert [(host.host, [chain.name for chain in host.chains]) for host in found.hosts] == [
        ("east", ["east-alpha"])
    ]
    assert [chain.name for chain in found.chains] == ["chat-overflow", "east-alpha"]


def test_troubles_come_worst_first_each_with_what_to_do() -> None:
    found = report(
        candidate("a", rows=[]),
        candidate("b", status=502),
        candidate("c", rows=[cast.usage_row(cast.overflow(), group_id="3")]),
        candidate("d", observed_at=cast.NOW - timedelta(days=2)),
        candidate("e"),
    )

    assert [(each.state, each.reason, bool(each.advice)) for each in found.troubles] == [
        (State.DISPROVED, "WrongGroup", True),
        (State.BROKEN, "UpstreamRefused", True),
        (State.INCONCLUSIVE, "NotProved", True),
        (State.STALE, "Stale", True),
    ]
    assert found.worst is State.DISPROVED
    assert [found.count(state) for state in State] == [1, 1, 1, 1, 1]


def test_a_proof_is_stale_after_the_freshness_it_was_demanded_with() -> None:
    day = timedelta(days=1)
    assert report(cast.route_proof(), now=cast.NOW + day).troubles == ()
    assert report(cast.route_proof(), now=cast.NOW + day + timedelta(seconds=1)).worst is State.STALE


def test_a_manifest_is_told_only_when_no_chain_explains_it() -> None:
    broken = candidate("b", status=502)
    found = report(
        broken,
        also=[
            status(
                "ModelBinding", "smart", broken, ready="False", reason="UpstreamRefused", message="route b"
            ),
            status("Acceptance", "all", ready="False", reason="TargetNotReady"),
            status("ShadowHost", "east", ready="Unknown", reason="NoProof"),
            status("GatewayKey", "one", ready="False", reason="HeldBack", message="held"),
            status("GatewayKey", "two", ready="False", reason="HeldBack", message="held"),
            status("Route", "off", ready="Unknown", reason="Disabled"),
        ],
    )

    assert [each.subject for each in found.troubles] == [
        "route b, model smart",
        "GatewayKey/one, GatewayKey/two",
    ]


def test_disabled_manifests_are_not_counted() -> None:
    found = report(candidate("b"), also=[status("Route", "off", ready="Unknown", reason="Disabled")])

    assert (found.ready, found.asked) == (1, 1)


def test_failed_drills_are_troubles_and_those_of_models_that_are_gone_are_not_told() -> None:
    found = report(
        candidate("b"),
        drills=[
            drill(LinkStatus.BROKEN, DrillReason.FALLBACK_DEAD),
            drill(LinkStatus.BROKEN, DrillReason.FALLBACK_DEAD, model="gone"),
            replace(
                drill(LinkStatus.NOT_TRIED, DrillReason.NOT_APPLICABLE),
                key=DrillKey("sticky", "chat", "smart", "b"),
            ),
        ],
    )

    assert [each.subject for each in found.troubles] == ["drill failover of chat/smart"]
    assert len(found.drills) == 2


def test_age_mends_nothing_what_was_broken_is_told_with_how_old_it_is() -> None:
    (broken,) = report(candidate("b", status=502, observed_at=cast.NOW - timedelta(days=2))).troubles

    assert (broken.state, broken.reason) == (State.BROKEN, "UpstreamRefused")
    assert broken.message.endswith(f"; {TOO_OLD}")


def test_evidence_is_named_only_of_this_very_proof() -> None:
    proof = cast.route_proof()
    known = {(proof.key, cast.NOW): "ev-1"}

    assert gather([of(proof)], evidence=known, now=NOW).chains[0].evidence == "ev-1"
    later = cast.route_proof(observed_at=cast.NOW + timedelta(seconds=1))
    assert gather([of(later)], evidence=known, now=NOW).chains[0].evidence is None


def test_an_empty_store_is_neither_good_nor_bad() -> None:
    found = report()

    assert found.worst is None
    assert text.headline(found) == "Nothing is known yet"
    assert 'class="banner unknown"' in html.render(found)


def test_paths_in_the_name_of_a_key_stand_beside_the_others() -> None:
    shared = candidate("b")
    own = replace(candidate("b", status=502), key=PathKey("b", "smart", key="billing"))
    found = report(shared, also=[status("ManagedKey", "billing", shared, own)])

    assert [chain.name for chain in found.choices[0].chains] == ["b", "b, as key billing"]
    assert [each.subject for each in found.troubles] == ["key billing, route b, model smart"]
    assert list(cases(found)) == [
        "reconcile.route.chat: smart by b",
        "reconcile.route.chat: smart by b, as key billing",
    ]


def test_of_one_path_the_newest_proof_is_told() -> None:
    old, new = candidate("b", status=502), candidate("b", observed_at=cast.NOW + timedelta(minutes=1))
    for first, second in ((old, new), (new, old)):
        found = report(first, also=[status("ManagedKey", "app", second)])
        assert [chain.state for chain in found.chains] == [State.PROVED]


# JUnit


def cases(found: ProofReport) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit.render(found))
    return {f"{case.get('classname')}: {case.get('name')}": case for case in root.iter("testcase")}


def test_each_chain_is_a_test_case_of_its_kind() -> None:
    found = cases(report(PROOFS["proved"], PROOFS["account proved"]))

    assert list(found) == [
        "reconcile.route.chat: smart by chat-overflow",
        "reconcile.account.east: o4-mini by east-alpha",
    ]
    case = found["reconcile.route.chat: smart by chat-overflow"]
    assert [child.tag for child in case] == ["system-out"]
    lines = (case.findtext("system-out") or "").splitlines()
    assert [line.split()[0] for line in lines[: len(Link)]] == [link.value for link in Link]
    assert {"grade: exact", f"requestId: {cast.REQUEST}", f"correlationId: {cast.CORRELATION}"} <= {*lines}


@pytest.mark.parametrize("name", PROOFS)
def test_a_verdict_has_one_outcome_in_junit(name: str) -> None:
    found = report(PROOFS[name])
    (case,) = cases(found).values()

    tags = {child.tag for child in case} & {"failure", "skipped", "error"}
    expected = {State.PROVED: set(), State.BROKEN: {"failure"}, State.DISPROVED: {"failure"}}
    assert tags == expected.get(found.chains[0].state, {"skipped"})


def test_a_failure_says_reason_message_and_what_to_do() -> None:
    (case,) = cases(report(candidate("b", status=502))).values()

    failure = case.find("failure")
    assert failure is not None
    assert failure.get("type") == "UpstreamRefused"
    assert failure.get("message") == (
        "Broken: UpstreamRefused: served: the probe was answered 502 (upstream status 200)"
    )
    assert "look at the account and its upstream" in (failure.text or "")


def test_totals_are_those_of_the_cases() -> None:
    found = report(
        candidate("a", rows=[]),
        candidate("b", status=502),
        candidate("c"),
        also=[status("GatewayKey", "one", ready="False", reason="HeldBack", message="held")],
        drills=[drill(LinkStatus.HOLDS)],
    )
    root = ElementTree.fromstring(junit.render(found))

    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["5", "2", "0"]
    for name, total in (("tests", 5), ("failures", 2), ("errors", 0), ("skipped", 1)):
        assert sum(int(suite.get(name, "x")) for suite in root) == total


SHAPE: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"testcase"},
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp"},
    ),
    "testcase": ({"skipped", "failure", "system-out"}, {"name"}, {"time", "classname"}),
    "skipped": (set(), set(), {"type", "message"}),
    "failure": (set(), set(), {"type", "message"}),
    "system-out": (set(), set(), set()),
}
"""Element -> its children, the attributes it must have, and those it may have.

Source: junit-10.xsd of https://github.com/jenkinsci/xunit-plugin, the strictest reader known.
"""


def test_the_file_has_the_shape_that_strict_readers_demand() -> None:
    held = status("GatewayKey", "one", ready="False", reason="HeldBack", message="held")
    drills = [drill(LinkStatus.BROKEN), drill(LinkStatus.INCONCLUSIVE), drill(LinkStatus.HOLDS)]
    root = ElementTree.fromstring(junit.render(report(*PROOFS.values(), also=[held], drills=drills)))

    assert root.tag == "testsuites"
    for element in root.iter():
        children, must, may = SHAPE[element.tag]
        assert {child.tag for child in element} <= children
        assert must <= {*element.attrib} <= must | may
        assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))


def test_no_two_test_cases_have_one_name() -> None:
    proofs = [candidate("b"), replace(candidate("b"), key=PathKey("b", "smart", key="billing"))]
    root = ElementTree.fromstring(
        junit.render(report(*proofs, candidate("b", model="fast"), PROOFS["account proved"]))
    )

    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(names) == len(set(names)) == 4


# All forms


def test_all_forms_tell_the_same() -> None:
    found = report(
        candidate("a", rows=[]),
        candidate("b", status=502),
        candidate("c", rows=[cast.usage_row(cast.overflow(), group_id="3")]),
        candidate("d", observed_at=cast.NOW - timedelta(days=2)),
        candidate("e"),
        replace(candidate("e", status=502), key=PathKey("e", "smart", key="billing")),
        PROOFS["account proved"],
        also=[status("GatewayKey", "one", ready="False", reason="HeldBack", message="held")],
    )
    body, lines = document(found), text.render(found)
    page, xml = Page(html.render(found)), ElementTree.fromstring(junit.render(found))
    verdicts = sorted(chain.state.value for chain in found.chains)

    listed = [each for choice in body["choices"] for each in choice["candidates"]]
    listed += [each for host in body["hosts"] for each in host["accounts"]]
    assert sorted(each["verdict"] for each in listed) == verdicts
    rows = re.findall(r"^  [+X?.]{3,6}  .* (Proved|Stale|Inconclusive|Broken|Disproved) ", lines, re.M)
    assert sorted(rows) == verdicts
    chains = [attrs for _, attrs in page.tags if (attrs.get("id") or "").startswith("chain-")]
    drawn = [(attrs["class"] or "").removeprefix("card ") for attrs in chains]
    assert sorted(drawn) == verdicts
    written = re.findall(
        r"^verdict: (\w+)$", "\n".join(each.text or "" for each in xml.iter("system-out")), re.M
    )
    assert sorted(written) == verdicts

    headline = text.headline(found)
    assert lines.startswith(headline)
    assert headline in page.text
    for trouble in found.troubles:
        for form in (lines, page.text, json.dumps(body, ensure_ascii=False)):
            assert trouble.subject in form
            assert trouble.reason in form
            assert trouble.advice in form
    failed = sum(trouble.state in junit.FAILED for trouble in found.troubles)
    assert len([*xml.iter("failure")]) == failed == 4
    assert len([*xml.iter("skipped")]) == len(found.troubles) - failed == 2


# HTML


class Page(HTMLParser):
    """What a browser would see: tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_link_of_every_route_is_drawn() -> None:
    page = Page(html.render(report(candidate("a"), candidate("b", status=502))))

    drawn = [
        attrs["class"] for tag, attrs in page.tags if tag == "li" and (attrs.get("title") or "").count(": ")
    ]
    # The broken one twice: where it says what is wrong, and at its route.
    assert len(drawn) == (1 + 2) * len(Link)
    assert drawn.count("broken") == 2
    assert drawn.count("not-tried") == 2


def test_the_page_names_ids_ages_and_what_to_do() -> None:
    page = Page(html.render(report(candidate("a"), candidate("b", status=502)))).text

    for said in (
        "1 of 2 paths not proved",
        cast.REQUEST,
        cast.CORRELATION,
        "exact, 42 min ago",
        "east / east-overflow / east-alpha-overflow as gpt-4.1",
        "look at the account and its upstream on the host",
    ):
        assert said in page


def test_the_page_needs_nothing_from_elsewhere_and_no_script() -> None:
    page = Page(html.render(report(*PROOFS.values())))

    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        assert not {"src", "srcset", "style"} & attrs.keys()
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("href") or "#").startswith("#")
    policy = [attrs.get("content") for _, attrs in page.tags if attrs.get("http-equiv")]
    assert policy == [html.POLICY]
    assert "url(" not in html.render(report())
    assert "@import" not in html.render(report())


def test_every_link_on_the_page_leads_to_a_chain_on_it() -> None:
    page = Page(html.render(report(*(proof for name, proof in PROOFS.items() if name != "proved"))))

    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    targets = {(attrs["href"] or "")[1:] for tag, attrs in page.tags if tag == "a"}
    assert targets
    assert targets <= ids


def test_no_sign_is_told_by_colour_alone() -> None:
    assert len(set(SIGNS.values())) == len(LinkStatus)
    assert len(set(STATE_SIGNS.values())) == len(State)


def hostile(name: str) -> ProofReport:
    """A report in which every name and text that others choose is `name`."""
    wanted = cast.overflow(
        key=PathKey(name, name),
        logical_group=name,
        public_model=name,
        managed_key=name,
        host=name,
        group=name,
        shadow_model=name,
        accounts={"1": name},
    )
    row = cast.usage_row(wanted, row_id=name, correlation_id=name, account_id="9", account_name=name)
    proof = cast.route_proof(wanted, rows=[row])
    account = cast.account_proof(cast.alpha(key=PathKey("", name, name), host=name, accounts={"2": name}))
    held = status("GatewayKey", name, ready="False", reason="HeldBack", message=name)
    exercised = DrillResult(
        DrillKey("failover", name, name, name), LinkStatus.BROKEN, DrillReason.NOT_SERVED, name, NOW
    )
    return report(replace(proof, request_id=name), account, also=[held], drills=[exercised])


PLAIN = Page(html.render(hostile("plain")))


def test_hostile_names_are_text_on_the_page() -> None:
    page = Page(html.render(hostile(HOSTILE)))

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in PLAIN.tags]
    assert "<img src=x onerror=alert(1)>" in page.text
    assert not {"\u202e", "\x00", "\x1b"} & set(html.render(hostile(HOSTILE)))


@given(st.text(min_size=1, max_size=40).filter(str.strip))
def test_no_name_changes_the_structure_of_the_page_or_breaks_the_xml(name: str) -> None:
    found = hostile(name)

    page = Page(html.render(found))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in PLAIN.tags]
    for (_, attrs), (_, expected) in zip(page.tags, PLAIN.tags, strict=True):
        assert attrs.keys() == expected.keys()
    ElementTree.fromstring(junit.render(found))
    assert "\x1b" not in text.render(found)
    json.dumps(document(found))


def test_markup_is_only_what_was_made_as_markup() -> None:
    assert el("p", "<b>", Html("<i>"), title='"<') == '<p title="&quot;&lt;">&lt;b&gt;<i></p>'


def test_anchors_are_distinct_where_names_look_alike() -> None:
    paths = [
        PathKey("a-b", "c"),
        PathKey("a", "b-c"),
        PathKey("a", "b", "c"),
        PathKey("", "a b"),
        PathKey("", "a", "b"),
    ]

    assert len({anchor(path) for path in paths}) == len(paths)


# Text and JSON


def test_the_text_has_one_sign_per_link() -> None:
    lines = text.render(report(candidate("b", status=502), PROOFS["account proved"])).splitlines()

    assert any(line.startswith("  +++X.+  b ") for line in lines)
    assert any(line.startswith("  +++     east-alpha o4-mini") for line in lines)


def test_the_document_counts_and_names_everything() -> None:
    found = document(report(candidate("a"), candidate("b", status=502), PROOFS["account proved"]))

    assert found["summary"]["proved"] == 2
    assert found["summary"]["broken"] == 1
    assert found["verdict"] == "Broken"
    assert [each["verdict"] for each in found["choices"][0]["candidates"]] == ["Proved", "Broken"]
    assert found["hosts"][0]["accounts"][0]["proof"]["subject"] == "east-alpha"
    assert found["madeAt"] == "2030-01-02T03:46:05.678901Z"
