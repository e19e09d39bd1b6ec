"""The report page in a real browser: it needs no script, the broken link is seen first, and the filter works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reconciler.proof.model import PathKey, PathProof
from reconciler.proof.model import Status as LinkStatus
from reconciler.proof.reports import html
from reconciler.proof.reports.model import ProofReport
from tests.proof import cast
from tests.proof.test_reports import HOSTILE, drill, hostile, report
from tests.support import browser as browsers
from tests.support.browser import Browser

WIDE, NARROW = (1280, 800), (360, 740)
SHOWN = ".filter(each => each.checkVisibility())"
CARDS = f"[...document.querySelectorAll('.card')]{SHOWN}.length"
FIRST_CHAIN = "document.querySelector('ol.chain')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.started() as found:
        yield found


def routes(count: int, wrong: Mapping[int, Mapping[str, Any]]) -> list[PathProof]:
    """Chains of `count` paths with long names, eight to a logical group; `wrong` says how some of them end."""
    found = []
    for number in range(count):
        group, place = f"a-logical-group-with-a-long-name-{number // 8}", number % 4
        names = [f"{group}-route-{each}" for each in range(place + 1)]
        wanted = cast.overflow(
            key=PathKey(names[-1], ("smart", "fast")[number // 4 % 2]),
            logical_group=group,
            better=frozenset(names[:-1]),
        )
        found.append(cast.route_proof(wanted, **wrong.get(number, {})))
    return found


REFUSED: Mapping[str, Any] = {"status": 502}
SOME = {50: REFUSED, 77: {"rows": []}, 150: {"observed_at": cast.NOW - timedelta(days=2)}}


@cache
def mixed() -> str:
    """The page of two hundred paths with four of them wrong, rendered once: most tests look at it."""
    billed = cast.route_proof(rows=[cast.usage_row(cast.overflow(), group_id="3")])
    drills = [drill(LinkStatus.HOLDS)]
    return html.render(report(*routes(200, SOME), billed, cast.account_proof(), drills=drills))


@cache
def all_wrong() -> str:
    return html.render(report(*routes(200, dict.fromkeys(range(200), REFUSED))))


def shown(browser: Browser, folder: Path, found: ProofReport | str, size: tuple[int, int] = WIDE) -> Browser:
    page = folder / "report.html"
    page.write_text(found if isinstance(found, str) else html.render(found), encoding="utf-8")
    browser.open(page, width=size[0], height=size[1])
    return browser


PAGES: Mapping[str, Callable[[], ProofReport | str]] = {
    "nothing known": report,
    "five that hold": lambda: report(*routes(5, {})),
    "every kind of trouble": lambda: report(*cast.every_kind_of_proof().values()),
    "two hundred, four wrong": mixed,
    "two hundred, all wrong": all_wrong,
    "names that are markup": lambda: hostile(HOSTILE),
}


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_renders_without_errors_requests_or_sideways_scrolling(
    browser: Browser, tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    page = shown(browser, tmp_path, PAGES[name](), size)

    assert page.value("document.scrollingElement.scrollWidth") == size[0]
    assert page.troubles() == []
    assert page.requests() == [(tmp_path / "report.html").as_uri()]


def test_the_browser_would_tell_of_a_script_or_an_image(browser: Browser, tmp_path: Path) -> None:
    spoiled = html.render(report()).replace("</body>", "<img src='pixel.png'><script>1</script></body>")

    page = shown(browser, tmp_path, spoiled)

    assert len(page.troubles()) == 2


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_first_chain_in_the_window_is_the_worst_with_its_broken_link(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    page = shown(browser, tmp_path, mixed(), size)

    assert page.value(f"{FIRST_CHAIN}.getBoundingClientRect().bottom") < size[1]
    assert page.value(f"{FIRST_CHAIN}.querySelector('.broken').innerText").split("\n") == [
        "✕",
        "proved",
        "broken",
    ]
    trouble = page.value(f"{FIRST_CHAIN}.closest('.trouble').innerText")
    assert "Disproved" in trouble
    assert "route chat-overflow, model smart" in trouble
    assert "look at the gateway key's group on the host" in trouble


def test_the_filter_leaves_only_what_is_not_proved(browser: Browser, tmp_path: Path) -> None:
    page = shown(browser, tmp_path, mixed())
    assert page.value(CARDS) == 201

    page.value("document.getElementById('only-wrong').click()")
    assert page.value(CARDS) == 4
    assert page.value(
        f"[...document.querySelectorAll('.card .pill')]{SHOWN}.map(each => each.innerText)"
    ) == [
        "≠ Disproved",
        "✕ Broken",
        "? Inconclusive",
        "! Stale",
    ]
    assert page.value(f"[...document.querySelectorAll('tr.Proved')]{SHOWN}.length") == 0

    page.value("document.getElementById('only-wrong').click()")
    assert page.value(CARDS) == 201


def test_what_holds_is_one_line_until_it_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    page = shown(browser, tmp_path, report(*routes(1, {})))
    ids = "document.querySelector('.card dl.ids').checkVisibility()"
    assert page.value(ids) is False
    assert page.value("document.querySelector('.card ol.chain').checkVisibility()") is False

    page.value("document.querySelector('.card summary').click()")
    assert page.value(ids) is True


def test_a_trouble_leads_to_its_chain(browser: Browser, tmp_path: Path) -> None:
    page = shown(browser, tmp_path, mixed())

    page.value("document.querySelectorAll('.trouble a')[1].click()")
    assert page.value("document.querySelector(':target .name').innerText").endswith("-6-route-2")
    assert page.value("document.querySelector(':target').getBoundingClientRect().top") < WIDE[1]


def test_a_dead_host_is_one_trouble_with_every_path_under_it(browser: Browser, tmp_path: Path) -> None:
    page = shown(browser, tmp_path, all_wrong())

    assert page.value("document.querySelectorAll('.trouble').length") == 1
    assert page.value("document.querySelectorAll('.trouble a').length") == 200
    assert page.value(f"[...document.querySelectorAll('.trouble a')]{SHOWN}.length") == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """WCAG 2.1, 1.4.3: a contrast of 4.5 for text."""
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page = shown(browser, tmp_path, mixed())

    assert page.value(CONTRAST) == []


CONTRAST = """
(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = each => {
    for (let node = each; node; node = node.parentElement) {
      const found = parts(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const weak = new Set();
  for (const each of document.querySelectorAll('main *')) {
    const text = [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!text || !each.checkVisibility()) continue;
    const [high, low] = [light(parts(getComputedStyle(each).color)), light(behind(each))].sort((a, b) => b - a);
    if ((high + 0.05) / (low + 0.05) < 4.5) weak.add(`${each.tagName}.${each.className}`);
  }
  return [...weak];
})()
"""


def test_a_path_in_the_name_of_a_key_has_a_card_of_its_own(browser: Browser, tmp_path: Path) -> None:
    path = PathKey("chat-overflow", "smart")
    asked = [replace(cast.route_proof(), key=path._replace(key=key)) for key in ("", "chat-billing")]
    page = shown(browser, tmp_path, report(*asked))

    names = page.value("[...document.querySelectorAll('.card .name')].map(each => each.innerText)")
    assert names == ["chat-overflow", "chat-overflow, as key chat-billing"]
