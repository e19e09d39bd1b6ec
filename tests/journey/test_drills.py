"""Drills on the running stack: what they find, and that they touch nobody."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx

from reconciler.embedded.stack import Stack
from tests.journey.test_traffic import Users
from tests.journey.world import ROOT, World, condition, not_ready
from tests.support.nursery import Nursery
from tests.support.plain_http import NO_TLS

ALL = "  drills: [sticky, failover, recovery, streaming, models, accounts]\n"
TARGETS = {"chat/smart", "chat/fast", "batch/smart", "batch/mini"}


def with_drills(world: World) -> None:
    world.edit("acceptance.yaml", "  probes: 1\n", "  probes: 1\n" + ALL)
    # Users that never pause would come to their own key's limit, which is not what is tested here.
    world.edit("keys.yaml", "requestsPerMinute: 600\n", "requestsPerMinute: 600000\n")


def standing(world: World) -> dict[str, Any]:
    """Return which groups every account serves, and every group and key there is, as the hosts tell it."""
    found: dict[str, Any] = {}
    for name in ("east", "west"):
        host = world.host(name)
        found |= {f"{name}/{each['name']}": sorted(each["group_ids"]) for each in host.rows("/accounts")}
        found[f"{name} groups"] = sorted(each["name"] for each in host.rows("/groups"))
        found[f"{name} keys"] = sorted(each["name"] for each in host.issued_keys())
    return found


def runtime(world: World, path: str) -> list[Any]:
    token = world.environ["RECONCILE_SECRET_GATEWAY_ADMIN"]
    url = f"{world.url('gateway')}/api/v1/runtime/{path}"
    found = (
        httpx.get(url, headers={"authorization": f"Bearer {token}"}, verify=NO_TLS)
        .raise_for_status()
        .json()["items"]
    )
    assert isinstance(found, list)
    return found


def test_all_drills_pass_and_users_see_and_lose_nothing(empty: World) -> None:
    with_drills(empty)
    empty.apply()
    client = Users(empty)
    headers = {
        "authorization": f"Bearer {empty.environ['RECONCILE_SECRET_KEY_CHAT']}",
        "x-session-id": "mine",
    }
    body = {"model": "smart", "messages": [{"role": "user", "content": "hello"}]}
    url = f"{empty.url('gateway')}/v1/chat/completions"
    httpx.post(url, json=body, headers=headers, verify=NO_TLS).raise_for_status()
    bindings = runtime(empty, "sticky-bindings")
    before, since = standing(empty), datetime.now(UTC)

    with client as users:
        found = empty.verify()

    assert users.errors == []
    assert standing(empty) == before
    accounts = [status for name, status in found.items() if name.startswith("ProviderAccount/")]
    assert len(accounts) == 5
    for proof in (proof for status in accounts for proof in status["proofs"]):
        assert datetime.fromisoformat(proof["observedAt"]) > since
    assert users.answers > 10
    assert not_ready(found) == {}
    assert condition(found["Route/chat-east"], "Drilled")["status"] == "True"
    assert [each["route_id"] for each in runtime(empty, "sticky-bindings")] == [
        each["route_id"] for each in bindings
    ]
    for state in runtime(empty, "routes"):
        assert state["state"] == "closed"
        assert state["failures"] == 0
        assert state["cooldowns"] == 0


def test_a_dead_fallback_is_found_before_it_is_needed(empty: World) -> None:
    with_drills(empty)
    empty.apply()
    # The overflow's account is paused by hand: nothing serves through it, and no user has noticed yet.
    host = empty.host("east")
    host.call(
        "POST", f"/accounts/{host.account('east-alpha-overflow')['id']}/schedulable", {"schedulable": False}
    )

    found = empty.verify(code=3)

    drilled = condition(found["Route/batch-west"], "Drilled")
    assert (drilled["status"], drilled["reason"]) == ("False", "FallbackDead")
    assert "drill failover of batch/" in drilled["message"]


def test_a_rehearsal_needs_no_credentials_spares_no_host_and_leaves_nothing(empty: World) -> None:
    # A live host that bears a request an hour: a rehearsal that minded it would not end.
    sparing = "  requestBudget: {requestsPerSecond: 0.0003, burst: 1}\n  adminEndpoint: embedded://east\n"
    empty.edit("planes.yaml", "  adminEndpoint: embedded://east\n", sparing)
    bare = {name: value for name, value in empty.environ.items() if not name.startswith("RECONCILE_")}
    empty.environ = bare

    done = empty.run("rehearse", str(empty.manifests))

    told = {line.split("drill ")[1].split(":")[0] for line in done.stderr.splitlines() if "drill " in line}
    assert {each.split(" of ")[1] for each in told} >= TARGETS
    assert {each.split(" of ")[0] for each in told} == {
        "sticky",
        "failover",
        "recovery",
        "streaming",
        "models",
    }
    assert "every one that asks for proof is Ready" in done.stdout
    assert not (empty.folder / ".reconcile").exists()


OVERFLOW = "  name: chat-overflow\nspec:\n  logicalGroup: chat\n  shadowGroup: {0}\n  gatewayKey: {0}\n"
"""The last resort of chat, and the shadow group and key that it leads to."""
SPARE = """---
apiVersion: routing.reconcile.dev/v1
kind: Route
metadata:
  name: batch-spare
spec:
  logicalGroup: batch
  shadowGroup: east-overflow
  gatewayKey: east-overflow
  priority: 30
"""


def test_a_rehearsal_finds_what_can_never_serve(empty: World) -> None:
    empty.edit("keys.yaml", "models: [mini, smart]", "models: [mini]")
    empty.edit("routes.yaml", OVERFLOW.format("east-overflow"), OVERFLOW.format("east-chat"))
    with (empty.manifests / "routes.yaml").open("a") as routes:
        routes.write(SPARE)

    done = empty.run("rehearse", str(empty.manifests), code=3)

    told = {line.split()[0]: line for line in done.stdout.splitlines() if "/" in line.split()[0]}
    assert "NoManagedKey" in told["ModelBinding/batch-smart"]
    assert "FallbackShared" in told["Route/chat-overflow"]
    assert (
        "chat-overflow is to stand in for chat-east, and both lead to east/east-chat by key east-chat"
        in done.stderr
    )
    routes_file = empty.manifests / "routes.yaml"
    line = routes_file.read_text().splitlines().index("  name: batch-spare") + 1
    missing = (
        f"missing: Route/batch-spare ({routes_file}:{line}:9) is enabled, and no ModelBinding leads to it; "
    )
    assert missing in done.stdout


def unbegun(tmp_path: Path) -> World:
    """Return a world of nothing but manifests: what is refused before anything is begun needs no stack."""
    folder = tmp_path / "manifests"
    shutil.copytree(ROOT / "manifests", folder)
    return World(tmp_path, cast(Stack, None), folder, cast(Nursery, None), dict(os.environ))


def test_a_rehearsal_begins_nothing_with_a_wrong_priority_a_missing_binding_or_an_alias_on_a_host(
    tmp_path: Path,
) -> None:
    world = unbegun(tmp_path)
    world.edit("routes.yaml", "east-overflow\n  priority: 20\n", "east-overflow\n  priority: 5\n")
    world.edit("models.yaml", "    - route: batch-overflow\n      shadowModel: o4-mini\n", "")
    world.edit("models.yaml", "shadowModel: gpt-4.1\n", "shadowModel: fast\n")

    done = world.run("rehearse", str(world.manifests), code=1)

    assert (
        'wrong-order: Acceptance "everything-in-service": for "fast" Route "chat-overflow" (priority 5)'
        in done.stderr
    )
    assert 'missing-binding: Acceptance "everything-in-service": Route "batch-overflow"' in done.stderr
    assert 'alias-as-shadow-model: ModelBinding "chat-smart": "fast" is a public alias' in done.stderr


def test_a_rehearsal_finds_an_alias_that_an_account_lists_instead_of_a_binding_leading_it(
    tmp_path: Path,
) -> None:
    world = unbegun(tmp_path)
    world.edit(
        "west.yaml", "models: [gpt-4.1, gpt-4.1-mini, o4-mini]", "models: [gpt-4.1, gpt-4.1-mini, fast]"
    )

    done = world.run("rehearse", str(world.manifests), code=1)

    line = next(
        number
        for number, text in enumerate((world.manifests / "west.yaml").read_text().splitlines(), start=1)
        if "fast]" in text
    )
    place = f"{world.manifests}/west.yaml:{line}:35: alias-on-host: ProviderAccount"
    assert place in done.stderr
    assert 'chat-fast" (' in done.stderr
    assert '(take it out: a host is asked for "gpt-4.1-mini", and knows no alias)' in done.stderr


def test_a_rehearsal_finds_an_alias_that_one_route_leads_and_another_leaves_to_the_host(empty: World) -> None:
    empty.edit(
        "west.yaml",
        "models: [gpt-4.1, gpt-4.1-mini, o4-mini]",
        "models: [gpt-4.1, gpt-4.1-mini, o4-mini, fast]",
    )
    models = (empty.manifests / "models.yaml").read_text()
    west = "    - route: chat-west\n      shadowModel: gpt-4.1-mini\n"
    assert west in models
    (empty.manifests / "models.yaml").write_text(models.replace(west, west.replace("gpt-4.1-mini", "fast")))

    done = empty.run("rehearse", str(empty.manifests))

    assert (
        'alias-not-led: ModelBinding "chat-fast": "fast" is asked of ShadowGroup "west-chat" as it is'
        in done.stderr
    )
    assert f"perhaps an alias: ShadowHost/west ({empty.manifests}/planes.yaml:" in done.stdout
    assert "is asked for public names as they are: fast; " in done.stdout


def test_a_rehearsal_leaves_evidence_that_its_own_public_key_verifies(empty: World) -> None:
    folder = empty.folder / "rehearsal"
    reports = ("--junit", str(empty.folder / "it.xml"), "--html", str(empty.folder / "it.html"))

    empty.run("rehearse", str(empty.manifests), "-q", "--evidence", str(folder), *reports)

    files = sorted(str(file) for file in folder.glob("*.json"))
    verify = ("evidence", "verify", *files, "--key", str(folder / "evidence.pub"))
    checked = empty.json(*verify, "--manifests", str(empty.manifests))
    assert checked["good"]
    verdicts = {(item["verdict"], "_drill-" in item["file"]) for item in checked["items"]}
    # A drill that does not apply, such as failover of a model with one route, is no failure and no pass.
    assert verdicts <= {("Proved", False), ("Proved", True), ("Inconclusive", True)}
    kinds = {Path(file).name.split("_")[1].split("-")[0] for file in files}
    assert kinds >= {"drill", "account", "chat", "batch"}
    assert not list(folder.glob("*.pem"))
    assert "Routes" in (empty.folder / "it.html").read_text()
    assert "testsuites" in (empty.folder / "it.xml").read_text()
