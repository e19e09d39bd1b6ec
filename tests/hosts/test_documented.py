"""The page about a driver names every setting that it takes, and none that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reconciler.hosts.registry import driver_schemas

DOCS = Path(__file__).parents[2] / "docs" / "hosts"
SECTION = re.compile(r"^## Settings of a (\w+)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("driver", sorted(driver_schemas()))
def test_the_page_of_a_driver_names_exactly_its_settings(driver: str) -> None:
    page = (DOCS / f"{driver}.md").read_text()

    for kind, section in SECTION.findall(page):
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
        assert named == set(driver_schemas()[driver][kind]["properties"])
    assert {kind for kind, _ in SECTION.findall(page)} == set(driver_schemas()[driver])
