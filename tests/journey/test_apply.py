"""Apply on the embedded stack, by the command line, as a newcomer does it."""

from __future__ import annotations

import stat

from reconciler.proof.probe import PROMPT_TOKENS
from tests.journey.world import World, condition, items, not_ready

ROW_FIELDS = ("host", "group", "account", "model", "usageLogId", "correlationId", "requestId")


def test_every_manifest_becomes_ready_with_exact_proof_that_names_what_the_row_named(applied: World) -> None:
    found = items(applied.json("get"))

    assert not_ready(found) == {}
    assert len(found) == 30
    for name, status in found.items():
        assert {proof["grade"] for proof in status["proofs"]} == {"exact"}, name
    for proof in found["Route/chat-east"]["proofs"]:
        assert all(proof[field] for field in ROW_FIELDS)
        assert (proof["host"], proof["group"]) == ("east", "east-chat")
        assert [link["link"] for link in proof["links"]] == [
            "configured", "runtime", "resolved", "served", "proved", "clean",
        ]  # fmt: skip


def test_second_apply_changes_nothing_on_any_plane(applied: World) -> None:
    before = _everything(applied)

    report = applied.apply()

    assert report["changed"] is False
    assert set(report["plan"]["summary"]) == {"create", "update", "delete", "adopt", "noop"}
    assert sum(count for action, count in report["plan"]["summary"].items() if action != "noop") == 0
    assert _everything(applied) == before
    assert "nothing to change" in applied.run("apply", str(applied.manifests)).stdout


def _everything(world: World) -> object:
    hosts = [world.host(name) for name in ("east", "west")]
    return (
        world.snapshot()["revision"],
        [sorted(each["id"] for each in host.rows("/groups")) for host in hosts],
        [
            sorted((each["id"], each["name"], tuple(each["group_ids"])) for each in host.rows("/accounts"))
            for host in hosts
        ],
        [
            sorted((each["id"], each["name"], each["group_id"]) for each in host.issued_keys())
            for host in hosts
        ],
    )


def test_the_same_plan_is_the_same_bytes(applied: World) -> None:
    first = applied.run("plan", str(applied.manifests), "-o", "json", "-q").stdout
    second = applied.run("apply", str(applied.manifests), "--dry-run", "-o", "json", "-q").stdout

    assert first == second


def test_nothing_temporary_is_left_on_the_hosts(applied: World) -> None:
    applied.verify()

    for name in ("east", "west"):
        host = applied.host(name)
        assert [each["name"] for each in host.rows("/groups") if "quarantine" in each["name"]] == []
        assert [each["name"] for each in host.issued_keys() if "Quarantine" in each["name"]] == []


def test_secrets_are_in_no_output_and_in_no_file_of_the_store(applied: World) -> None:
    told = applied.run("verify", str(applied.manifests), "-o", "json")
    told_more = applied.run("describe", "Route/chat-east", "-o", "json")
    shown = told.stdout + told.stderr + told_more.stdout
    secrets = [value for name, value in applied.environ.items() if name.startswith("RECONCILE_SECRET_")]
    keys = [each["key"] for name in ("east", "west") for each in applied.host(name).issued_keys()]
    stored = b"".join(path.read_bytes() for path in (applied.folder / "state").rglob("*") if path.is_file())

    assert secrets
    assert keys
    for secret in (*secrets, *keys):
        assert secret not in shown
        assert secret.encode() not in stored


def test_the_installation_key_is_private(applied: World) -> None:
    (key,) = (applied.folder / "state").glob("*.key")

    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_plan_changes_nothing_and_says_2_when_changes_are_pending(empty: World) -> None:
    done = empty.run("plan", str(empty.manifests), "--detailed-exitcode", code=2)

    assert "30 to create" in done.stderr + done.stdout
    assert [each["name"] for each in empty.host("east").rows("/groups")] == ["default"]
    assert empty.snapshot()["revision"] == 1


def test_a_stale_plan_is_refused_with_5(applied: World) -> None:
    digest = applied.json("plan", str(applied.manifests), "-q")["digest"]
    applied.edit("routes.yaml", "weight: 20", "weight: 25")
    try:
        done = applied.run("apply", str(applied.manifests), "--plan-digest", digest, code=5)
        assert "stale" in done.stderr
    finally:
        applied.edit("routes.yaml", "weight: 25", "weight: 20")

    assert applied.run("apply", str(applied.manifests), "--plan-digest", digest).returncode == 0


def test_usage_errors_exit_64_and_invalid_input_1(applied: World) -> None:
    applied.run("apply", "--no-such-flag", code=64)
    missing = applied.run("apply", "no-such-folder", code=1)

    assert "no-such-folder" in missing.stderr


def test_drift_by_hand_is_planned_and_corrected(applied: World) -> None:
    host = applied.host("east")
    account = host.account("east-alpha")
    host.call("PUT", f"/accounts/{account['id']}", {"priority": 77, "concurrency": 1})
    group = host.group("east-overflow")
    host.call("PUT", f"/groups/{group['id']}", {"name": "renamed-by-hand"})

    planned = applied.json("plan", str(applied.manifests), "-q")
    report = applied.apply()

    changed = {(each["kind"], each["name"]) for each in planned["changes"] if each["action"] != "noop"}
    assert changed == {("ProviderAccount", "east-alpha"), ("ShadowGroup", "east-overflow")}
    assert not_ready(items(report)) == {}
    assert host.account("east-alpha")["priority"] == 10
    assert host.group("east-overflow")["id"] == group["id"]


def test_foreign_objects_are_never_touched(applied: World) -> None:
    host = applied.host("east")
    body = {"name": "somebody-elses", "platform": "openai", "rate_multiplier": 2, "description": "hands off"}
    made = host.call("GET", f"/groups/{host.call('POST', '/groups', body)['id']}")

    applied.apply()

    assert host.call("GET", f"/groups/{made['id']}") == made
    host.call("DELETE", f"/groups/{made['id']}")


def test_a_removed_manifest_needs_leave_while_it_serves_is_deleted_everywhere_and_put_back_on_return(
    applied: World,
) -> None:
    routes = (applied.manifests / "routes.yaml").read_text()
    models = (applied.manifests / "models.yaml").read_text()
    acceptance = (applied.manifests / "acceptance.yaml").read_text()
    for name in ("mini", "smart"):
        block = (
            f"    - route: batch-overflow\n      shadowModel: {'o4-mini' if name == 'mini' else 'gpt-4.1'}\n"
        )
        applied.edit("models.yaml", block, "")
        applied.edit("acceptance.yaml", "[batch-west, batch-overflow]", "[batch-west]")
    kept = [part for part in routes.split("---\n") if "name: batch-overflow" not in part]
    (applied.manifests / "routes.yaml").write_text("---\n".join(kept))

    refused = applied.run("apply", str(applied.manifests), code=4)
    removed = applied.apply("--allow-serving-delete")
    names = {each["name"] for each in applied.snapshot()["configuration"]["routes"]}
    (applied.manifests / "routes.yaml").write_text(routes)
    (applied.manifests / "models.yaml").write_text(models)
    (applied.manifests / "acceptance.yaml").write_text(acceptance)
    back = applied.apply()

    assert "--allow-serving-delete" in refused.stderr
    assert "batch-overflow" not in names
    assert not_ready(items(removed)) == {}
    assert not_ready(items(back)) == {}


def test_describe_shows_each_link(applied: World) -> None:
    text = applied.run("describe", "route/chat-east").stdout

    for word in ("configured", "runtime", "resolved", "served", "proved", "clean", "exact", "east-chat"):
        assert word in text
    assert condition(applied.json("describe", "Route/chat-east")["status"], "Ready")["status"] == "True"


def test_promoting_unproved_needs_leave(applied: World) -> None:
    refused = applied.run("apply", str(applied.manifests), "--prove", "none", code=4)

    assert "--allow-unproved" in refused.stderr
    for command in (("plan",), ("apply", "--dry-run")):
        planned = applied.run(*command, str(applied.manifests), "--prove", "none", code=4)
        assert "--allow-unproved" in planned.stdout
        applied.run(*command, str(applied.manifests), "--prove", "none", "--allow-unproved")


def test_the_plan_says_what_proving_will_cost(empty: World) -> None:
    planned = empty.json("plan", str(empty.manifests), "-q")

    # Ten routes x models, and five new accounts with three models each; a probe's own words are counted too.
    assert planned["proving"] == {
        "requests": 25,
        "tokens": 25 * (PROMPT_TOKENS + 16),
        "usd": "unknown",
        "unpricedRequests": 25,
        "shortages": [],
    }


def test_a_dry_run_states_what_it_costs_to_prove_all_and_what_to_prove_nothing_first(applied: World) -> None:
    applied.edit("routes.yaml", "weight: 20", "weight: 25")
    try:
        dry = ("apply", str(applied.manifests), "-q", "--dry-run", "--allow-unproved", "--prove")
        costs = [applied.json(*dry, prove)["proving"]["requests"] for prove in ("all", "affected", "none")]
    finally:
        applied.edit("routes.yaml", "weight: 25", "weight: 20")

    # All paths; those of the two routes that share the weights; none: a weight leads nobody elsewhere.
    assert costs == [10, 6, 0]


def test_get_shows_how_old_each_proof_is(applied: World) -> None:
    header, *rows = applied.run("get").stdout.splitlines()

    assert header.split() == ["MANIFEST", "READY", "GRADE", "AGE", "PROVED", "BY"]
    assert all(row.split()[3][:-1].isdigit() for row in rows)
