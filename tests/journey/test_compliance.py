"""The compliance gate of a host: reported by every command, opened by one, and only when told to."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import Done, run_here
from tests.support.nursery import Nursery

ADMIN_KEY = "admin-" + "0123456789abcdef" * 4
MANIFEST = """\
apiVersion: routing.reconcile.dev/v1
kind: ShadowHost
metadata:
  name: east
spec:
  driver: sub2api
  adminEndpoint: {url}
  adminCredential:
    valueFrom:
      env: RECONCILE_SECRET_EAST_ADMIN
"""


@dataclass
class Gated:
    """A host whose compliance text nobody has accepted yet."""

    folder: Path

    def run(self, *arguments: str, answer: str = "") -> Done:
        command = [*arguments, str(self.folder / "east.yaml"), "--host", "east"]
        environ = {
            "RECONCILE_SECRET_EAST_ADMIN": ADMIN_KEY,
            "RECONCILE_STATE": f"sqlite:///{self.folder}/state.db",
        }
        return run_here(command, folder=self.folder, environ=environ, answer=answer)


@pytest.fixture
def gated(tmp_path: Path, nursery: Nursery) -> Iterator[Gated]:
    files = {"secrets": {"admin_api_key": ADMIN_KEY}, "settings": {"compliance_gate": True}}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "reconciler.embedded.host", "--data", str(tmp_path / "data")]
    command += [
        "--secrets-file",
        str(tmp_path / "secrets.json"),
        "--settings-file",
        str(tmp_path / "settings.json"),
    ]
    process = nursery.start([*command, "--ready-file", str(ready)])
    try:
        for _ in range(300):
            if ready.exists() and ready.read_text():
                break
            assert process.poll() is None
            time.sleep(0.05)
        (tmp_path / "east.yaml").write_text(MANIFEST.format(url=ready.read_text().strip()))
        yield Gated(tmp_path)
    finally:
        process.terminate()
        process.wait(10)


def test_a_closed_gate_stops_an_import_and_names_the_command_that_opens_it(gated: Gated) -> None:
    done = gated.run("import")

    assert done.returncode == 1
    assert "reconcile host accept-compliance" in done.stderr
    assert done.stdout == ""


def test_the_text_is_shown_and_a_no_leaves_the_gate_closed(gated: Gated) -> None:
    done = gated.run("host", "accept-compliance", answer="n\n")

    assert done.returncode == 130
    assert "https://" in done.stdout
    assert "I have read" in done.stdout
    assert gated.run("import").returncode == 1


def test_a_yes_opens_the_gate_for_good(gated: Gated) -> None:
    assert "accepted" in gated.run("host", "accept-compliance", answer="y\n").stdout

    assert gated.run("import").returncode == 0
    assert "nothing to accept" in gated.run("host", "accept-compliance").stdout


def test_the_flag_stands_for_the_yes(gated: Gated) -> None:
    assert gated.run("host", "accept-compliance", "--yes").returncode == 0

    assert gated.run("import").returncode == 0
