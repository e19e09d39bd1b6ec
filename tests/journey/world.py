"""A whole embedded stack with the example manifests, driven by the real command line, as a user would."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from reconciler.cli.options import read_manifests
from reconciler.cli.stack_spec import stack_spec
from reconciler.embedded.stack import Stack
from tests.support.command import Done, run_here
from tests.support.nursery import Child, Nursery
from tests.support.plain_http import NO_TLS

ROOT = Path(__file__).parents[2]
RECONCILE = [sys.executable, "-c", "from reconciler.cli import main; main()"]
LEASE_S = "15"
"""As long as by default: on a busy machine a short one ends before its holder gets to renew it."""
PATIENCE_S = 60


@dataclass
class World:
    """One stack, one state store and one copy of the manifests under one folder."""

    folder: Path
    stack: Stack
    manifests: Path
    nursery: Nursery
    environ: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path, nursery: Nursery) -> World:
        """Start an empty stack for a copy of the example manifests."""
        manifests = folder / "manifests"
        shutil.copytree(ROOT / "manifests", manifests)
        spec = stack_spec(read_manifests([str(manifests)]))
        stack = Stack(
            folder / "stack",
            spec,
            lambda command, log, env: nursery.start(command, env=env, out=log, err=log),
        )
        stack.start()
        environ = {
            **os.environ,
            **stack.env,
            "RECONCILE_STACK": str(stack.stack_file),
            "RECONCILE_STATE": f"sqlite:///{folder}/state/state.db",
            "RECONCILE_LEASE_SECONDS": LEASE_S,
        }
        return cls(folder, stack, manifests, nursery, environ)

    def stop(self) -> None:
        self.stack.stop()

    def command(self, *arguments: str) -> list[str]:
        return [*RECONCILE, *arguments]

    def process(self, *arguments: str, err: BinaryIO | int, **environ: str) -> Child:
        """Start one command as a process of its own."""
        env = {**self.environ, **environ}
        return self.nursery.start(self.command(*arguments), env=env, cwd=self.folder, err=err)

    def run(self, *arguments: str, code: int | None = 0) -> Done:
        """Run one command, as a process of its own would, in this one; assert its exit code unless `code` is None.

        Whoever kills a command starts a real one: `process`.
        """
        done = run_here(arguments, folder=self.folder, environ=self.environ)
        if code is not None:
            assert done.returncode == code, (
                f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def later(self) -> None:
        """Let the time pass that a run waits for after one that was killed: the store takes it for long ago."""
        with closing(sqlite3.connect(self.folder / "state" / "state.db")) as database, database:
            database.execute("UPDATE lease SET expires_at = '2000-01-01', quiet_at = '2000-01-01'")

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """Run one command with -o json and return what it printed."""
        return json.loads(self.run(*arguments, "-o", "json", code=code).stdout)

    def apply(self, *arguments: str, code: int | None = 0) -> Any:
        return self.json("apply", str(self.manifests), "-q", *arguments, code=code)

    def verify(self, code: int | None = 0) -> dict[str, Any]:
        """Verify everything, and return the items by KIND/NAME."""
        return items(self.json("verify", str(self.manifests), "-q", code=code))

    def url(self, part: str) -> str:
        return self.stack.endpoints[f"embedded://{part}"]

    def edit(self, file: str, before: str, after: str) -> None:
        """Replace one text in one manifest file, which must stand in it."""
        path = self.manifests / file
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    def host(self, name: str) -> HostAdmin:
        return HostAdmin(self.url(name), self.environ[f"RECONCILE_SECRET_{name.upper()}_ADMIN"])

    def snapshot(self) -> Any:
        token = self.environ["RECONCILE_SECRET_GATEWAY_ADMIN"]
        answer = httpx.get(
            f"{self.url('gateway')}/api/v1/snapshot",
            headers={"authorization": f"Bearer {token}"},
            verify=NO_TLS,
        )
        return answer.raise_for_status().json()


@dataclass(frozen=True)
class HostAdmin:
    """The admin API of one embedded host, as an operator's hand would use it."""

    url: str
    key: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(
            method,
            f"{self.url}/api/v1/admin{path}",
            json=body,
            headers={"x-api-key": self.key},
            timeout=10,
            verify=NO_TLS,
        )
        return answer.raise_for_status().json().get("data")

    def rows(self, path: str) -> list[Any]:
        separator = "&" if "?" in path else "?"
        found = self.call("GET", f"{path}{separator}page_size=1000")["items"]
        assert isinstance(found, list)
        return found

    def account(self, name: str) -> Any:
        return next(each for each in self.rows("/accounts") if each["name"] == name)

    def group(self, name: str) -> Any:
        return next(each for each in self.rows("/groups") if each["name"] == name)

    def issued_keys(self) -> list[Any]:
        issuer = next(each for each in self.rows("/users") if each["email"] == "reconciler@example.com")
        return self.rows(f"/users/{issuer['id']}/api-keys")

    def faults(self, *faults: Mapping[str, Any]) -> None:
        httpx.put(
            f"{self.url}/__control/faults", json={"faults": list(faults)}, verify=NO_TLS
        ).raise_for_status()


def eventually(what: str, ask: Callable[[], Any]) -> Any:
    """Return the first true answer. For edges only: what is waited for is another process."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def items(document: Any) -> dict[str, Any]:
    """Return status items by KIND/NAME."""
    return {f"{item['kind']}/{item['metadata']['name']}": item["status"] for item in document["items"]}


def condition(status: Any, of_type: str) -> Any:
    return next(each for each in status["conditions"] if each["type"] == of_type)


def not_ready(found: Mapping[str, Any]) -> dict[str, str]:
    """Return KIND/NAME -> reason of everything that is not Ready."""
    return {
        name: condition(status, "Ready")["reason"]
        for name, status in found.items()
        if condition(status, "Ready")["status"] != "True"
    }
