"""What every host driver must do, whatever the host. `test_conformance.py` runs it for each driver there is.

A driver's own oddities have tests of their own; here stands only what the contract promises.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import (
    Blocked,
    Conflict,
    LostAnswer,
    Malformed,
    NotFound,
    RateLimited,
    RemoteError,
    Unauthorized,
    Unavailable,
)
from reconciler.hosts.contract import Refs, Secrets
from reconciler.plan.model import Marker
from tests.hosts import faults
from tests.hosts.bench import CREDENTIAL, PASSWORD, Bench, Manifest, fingerprint
from tests.hosts.faults import answers, works_then_answers

LONG = "n" * 100
UNICODE = "Fernsprech-Größe 电话 ✆ & <b>'\"%_\\"


class Reading:
    async def test_check_tells_the_version(self, bench: Bench) -> None:
        status = await bench.driver.check()

        assert status.version
        assert status.gates == ()

    async def test_what_was_created_is_observed_as_desired(self, bench: Bench) -> None:
        manifests: list[Manifest] = [bench.group(), bench.account(), bench.key()]
        issuer = await bench.make(bench.host)
        made = [await bench.make(each) for each in manifests]

        for manifest, seen in zip(manifests, made, strict=True):
            assert bench.differences(manifest, seen) == ()
            observed = await bench.observed(seen.kind, seen.object_id)
            assert bench.differences(manifest, observed) == ()
            assert observed is not None
            assert observed.marker == bench.marker(bench.desired(manifest)[0])
        assert (await bench.driver.get("KeyIssuer", issuer.object_id)) is not None

    async def test_objects_come_sorted_and_once(self, bench: Bench) -> None:
        await bench.make(bench.group("one"))
        await bench.make(bench.group("two"))

        found = [(item.kind, int(item.object_id)) for item in await bench.driver.observe()]

        assert found == sorted(set(found))

    async def test_reading_changes_nothing(self, bench: Bench) -> None:
        await bench.make(bench.host)
        await bench.make(bench.group())
        bench.faults.sent.clear()

        await bench.driver.check()
        await bench.driver.observe()

        assert bench.faults.writes() == []

    async def test_get_tells_what_is_gone(self, bench: Bench) -> None:
        made = await bench.make(bench.group())
        assert await bench.driver.get("ShadowGroup", made.object_id) == made

        await bench.driver.delete("ShadowGroup", made.object_id, made.marker)

        assert await bench.driver.get("ShadowGroup", made.object_id) is None
        assert await bench.observed("ShadowGroup", made.object_id) is None

    async def test_foreign_objects_are_observed_without_marker(self, bench: Bench) -> None:
        group_id = await bench.foreign_group(bench.name("theirs"))
        account_id = await bench.foreign_account(bench.name("theirs"), [group_id])

        account = await bench.observed("ProviderAccount", account_id)

        assert account is not None
        assert account.marker is None
        assert account.fields["groups"] == [f"#{group_id}"]

    async def test_a_list_of_many_pages_is_read_to_its_end(self, bench: Bench) -> None:
        made = {(await bench.make(bench.group(f"group{number}"))).object_id for number in range(7)}
        driver = bench.open(page_size=2)

        found = {item.object_id for item in await driver.observe() if item.kind == "ShadowGroup"}

        assert made <= found

    async def test_members_are_those_bound_now_ours_and_foreign(self, bench: Bench) -> None:
        group = await bench.make(bench.group())
        ours = await bench.make(bench.account())
        theirs = await bench.foreign_account(bench.name("theirs"), [group.object_id])

        members = await bench.driver.members(group.object_id)

        assert {item.object_id for item in members} == {ours.object_id, theirs}

    async def test_a_new_account_carries_no_marks(self, bench: Bench) -> None:
        await bench.make(bench.group())
        account = await bench.make(bench.account())

        marks = await bench.driver.marks(account.object_id)

        assert marks.healthy
        assert not marks.paused_by_operator

    async def test_marks_of_what_is_gone_are_not_found(self, bench: Bench) -> None:
        with pytest.raises(NotFound):
            await bench.driver.marks("999999999")


class Writing:
    async def test_a_second_create_finds_the_first(self, bench: Bench) -> None:
        await bench.make(bench.host)
        for manifest in (bench.group(), bench.account(), bench.key(), bench.host):
            first = await bench.make(manifest)
            again = await bench.make(manifest, driver=bench.open())

            assert again.object_id == first.object_id
            assert bench.differences(manifest, again) == bench.differences(manifest, first)

    async def test_an_update_that_changes_nothing_leaves_the_object_as_it_is(self, bench: Bench) -> None:
        await bench.make(bench.group())
        account = bench.account()
        made = await bench.make(account)
        bench.faults.sent.clear()

        assert await bench.change(made.object_id, account) == made
        assert bench.faults.writes() == []

    async def test_each_field_of_an_account_can_be_changed_and_changed_back(self, bench: Bench) -> None:
        await bench.make(bench.group("chat"))
        await bench.make(bench.group("batch"))
        before = bench.account()
        made = await bench.make(before)
        changes: list[dict[str, Any]] = [
            {"models": ["shadow-small"]},
            {"priority": 7},
            {"concurrency": 3},
            {"hostName": bench.name("renamed")},
            {"groups": ("batch", "chat")},
            {"groups": ("batch",)},
        ]
        for change in changes:
            after = bench.account(**change)
            assert bench.differences(after, made) != (), change

            assert bench.differences(after, await bench.change(made.object_id, after)) == ()
            assert bench.differences(after, await bench.observed("ProviderAccount", made.object_id)) == ()
            assert bench.differences(before, await bench.change(made.object_id, before)) == ()

    async def test_drift_by_hand_is_seen_and_put_right(self, bench: Bench) -> None:
        group = bench.group()
        made = await bench.make(group)
        await bench.by_hand("PUT", f"/groups/{made.object_id}", {"name": bench.name("other")})
        drifted = await bench.observed("ShadowGroup", made.object_id)
        assert [change.path for change in bench.differences(group, drifted)] == ["name"]

        assert bench.differences(group, await bench.change(made.object_id, group)) == ()

    async def test_binding_sets_exactly_the_groups_given(self, bench: Bench) -> None:
        chat, batch = await bench.make(bench.group("chat")), await bench.make(bench.group("batch"))
        account = await bench.make(bench.account())
        both = frozenset({chat.object_id, batch.object_id})

        for wanted in (both, frozenset({batch.object_id}), both, frozenset[str]()):
            bound = await bench.driver.bind(account.object_id, wanted)

            names = sorted(
                bench.name(word)
                for word, made in (("chat", chat), ("batch", batch))
                if made.object_id in wanted
            )
            assert bound.fields["groups"] == names
            assert await bench.driver.get("ProviderAccount", account.object_id) == bound

    async def test_binding_again_sends_nothing(self, bench: Bench) -> None:
        group = await bench.make(bench.group())
        account = await bench.make(bench.account())
        bench.faults.sent.clear()

        await bench.driver.bind(account.object_id, frozenset({group.object_id}))

        assert bench.faults.writes() == []

    async def test_a_deleted_object_can_be_deleted_again(self, bench: Bench) -> None:
        await bench.make(bench.host)
        made = [await bench.make(each) for each in (bench.group(), bench.account(), bench.key())]

        for _ in (1, 2):
            for item in reversed(made):
                await bench.driver.delete(item.kind, item.object_id, item.marker)

        for item in made:
            assert await bench.driver.get(item.kind, item.object_id) is None

    async def test_an_account_is_never_created_without_groups(self, bench: Bench) -> None:
        desired = bench.desired(bench.account())[0]
        loose = replace(desired, fields={**desired.fields, "groups": []})
        bench.faults.sent.clear()

        with pytest.raises(ValueError, match="without groups"):
            await bench.driver.create(
                loose, bench.marker(loose), Secrets({"credential": CREDENTIAL}), Refs(bench.refs)
            )

        assert bench.faults.sent == []

    async def test_an_account_can_be_created_into_a_temporary_group_instead(self, bench: Bench) -> None:
        await bench.make(bench.group())
        like = bench.desired(bench.group("holding"))[0]
        holding = replace(like, key=like.key._replace(kind="Quarantine", name=bench.name("holding")))
        temporary = await bench.make_object(holding, {})
        desired = bench.desired(bench.account())[0]
        label = f"quarantine/{holding.key.name}"

        made = await bench.make_object(
            replace(desired, fields={**desired.fields, "groups": [label]}), {"credential": CREDENTIAL}
        )

        assert temporary.kind == "Quarantine"
        assert made.fields["groups"] == [label]
        assert [item.object_id for item in await bench.driver.members(temporary.object_id)] == [
            made.object_id
        ]

    @pytest.mark.parametrize("host_name", [LONG, UNICODE])
    async def test_odd_names_survive(self, bench: Bench, host_name: str) -> None:
        name = (host_name[: 100 - 9] if host_name == LONG else host_name) + f"-{bench.suffix}"
        manifests: list[Manifest] = [bench.group(hostName=name), bench.account(hostName=name)]

        made = [await bench.make(each) for each in manifests]

        assert [item.host_name for item in made] == [name, name]
        for manifest, item in zip(manifests, made, strict=True):
            assert bench.differences(manifest, await bench.observed(item.kind, item.object_id)) == ()
            assert (await bench.make(manifest)).object_id == item.object_id

    async def test_many_creates_at_once_make_each_object_once(self, bench: Bench) -> None:
        manifests = [bench.group(f"group{number}") for number in range(12)]

        made = await asyncio.gather(*[bench.make(manifest) for manifest in manifests])

        assert len({item.object_id for item in made}) == 12
        assert [item.host_name for item in made] == [manifest.name for manifest in manifests]


class Ownership:
    async def test_a_foreign_group_of_the_name_is_a_conflict_and_untouched(self, bench: Bench) -> None:
        group_id = await bench.foreign_group(bench.name("chat"))
        before = await bench.driver.get("ShadowGroup", group_id)

        with pytest.raises(Conflict, match="not ours") as caught:
            await bench.make(bench.group("chat"))

        assert f'reconcile.dev/adopt: "{group_id}"' in str(caught.value)
        assert await bench.driver.get("ShadowGroup", group_id) == before

    async def test_a_foreign_account_of_the_name_is_a_conflict_and_untouched(self, bench: Bench) -> None:
        group = await bench.make(bench.group())
        account_id = await bench.foreign_account(bench.name("alpha"), [group.object_id])
        before = await bench.driver.get("ProviderAccount", account_id)

        with pytest.raises(Conflict, match="not ours") as caught:
            await bench.make(bench.account("alpha"))

        assert f'reconcile.dev/adopt: "{account_id}"' in str(caught.value)
        assert await bench.driver.get("ProviderAccount", account_id) == before
        assert len(await bench.driver.members(group.object_id)) == 1

    async def test_another_installation_is_foreign(self, bench: Bench) -> None:
        desired = bench.desired(bench.group())[0]
        theirs = Marker("inst-theirs00", "ShadowGroup", desired.key.name, "-")
        made = await bench.driver.create(desired, theirs, Secrets(), Refs())
        bench.remember(desired, made.object_id)

        with pytest.raises(Conflict, match="not ours"):
            await bench.make(bench.group())

    async def test_delete_refuses_what_does_not_carry_the_marker(self, bench: Bench) -> None:
        await bench.make(bench.host)
        made = [await bench.make(each) for each in (bench.group(), bench.account(), bench.key())]
        for item in made:
            stranger = Marker(bench.installation, item.kind, "somebody-else", "-")

            with pytest.raises(Conflict, match="left alone"):
                await bench.driver.delete(item.kind, item.object_id, stranger)

            assert await bench.driver.get(item.kind, item.object_id) is not None

    async def test_delete_refuses_a_foreign_object(self, bench: Bench) -> None:
        group_id = await bench.foreign_group(bench.name("theirs"))
        ours = Marker(bench.installation, "ShadowGroup", bench.name("theirs"), "-")

        with pytest.raises(Conflict, match="left alone"):
            await bench.driver.delete("ShadowGroup", group_id, ours)

        assert await bench.driver.get("ShadowGroup", group_id) is not None

    async def test_an_adopted_object_gets_the_marker_and_keeps_its_id(self, bench: Bench) -> None:
        group_id = await bench.foreign_group(bench.name("theirs"))
        group = bench.group("chat", hostName=bench.name("theirs"))

        adopted = await bench.change(group_id, group)

        assert adopted.object_id == group_id
        assert adopted.marker == bench.marker(bench.desired(group)[0])
        assert bench.differences(group, adopted) == ()

    async def test_a_new_credential_makes_a_second_account_beside_the_first(self, bench: Bench) -> None:
        await bench.make(bench.group())
        first = await bench.make(bench.account())

        second = await bench.make(bench.account(), {"credential": "canary-upstream-key-2"})

        assert second.object_id != first.object_id
        assert second.marker is not None
        assert second.marker.fingerprint == fingerprint("canary-upstream-key-2")
        assert await bench.driver.get("ProviderAccount", first.object_id) == first


class Trouble:
    @pytest.mark.parametrize(
        "status,expected",
        [
            (401, Unauthorized),
            (404, NotFound),
            (423, Blocked),
            (429, RateLimited),
            (500, Unavailable),
            (502, Unavailable),
        ],
    )
    async def test_a_read_that_keeps_failing_says_why(
        self, bench: Bench, status: int, expected: type[RemoteError]
    ) -> None:
        bench.faults.on("GET", ".", answers(status, bench.wording(status)), times=1000)

        with pytest.raises(expected) as caught:
            await bench.driver.observe()

        assert type(caught.value) is expected
        assert caught.value.status == status
        assert caught.value.where == f"ShadowHost/{bench.host.name}"

    async def test_a_gate_is_reported_with_what_to_do(self, bench: Bench) -> None:
        bench.faults.on("*", ".", answers(423, bench.wording(423)), times=1000)

        with pytest.raises(Blocked) as caught:
            await bench.driver.check()

        assert caught.value.hint

    async def test_passing_trouble_is_ridden_out(self, bench: Bench) -> None:
        made = await bench.make(bench.group())
        for act in (faults.refuses, faults.times_out, answers(502, ""), answers(503, "")):
            bench.faults.on("GET", "groups", act)

        assert await bench.observed("ShadowGroup", made.object_id) == made

    async def test_retry_after_is_waited_for(self, bench: Bench) -> None:
        bench.faults.on("*", ".", answers(429, bench.wording(429), {"Retry-After": "7"}))

        await bench.driver.check()

        assert sum(bench.time.slept) >= 7

    async def test_no_answer_at_all_is_unavailable(self, bench: Bench) -> None:
        bench.faults.on("*", ".", faults.refuses, times=1000)

        with pytest.raises(Unavailable):
            await bench.driver.observe()

    async def test_json_that_breaks_off_is_malformed(self, bench: Bench) -> None:
        bench.faults.on("GET", "groups", faults.garbles, times=1000)

        with pytest.raises(Malformed):
            await bench.driver.observe()

    @pytest.mark.parametrize("body", [{}, [], None, 7, {"code": 0}, {"code": 0, "data": {"items": [{}]}}])
    async def test_an_answer_of_another_shape_is_malformed(self, bench: Bench, body: object) -> None:
        bench.faults.on("GET", "groups", answers(200, body), times=1000)

        with pytest.raises(Malformed):
            await bench.driver.observe()

    @pytest.mark.parametrize("act", [faults.loses_the_answer, faults.garbles, works_then_answers(502, "")])
    @pytest.mark.parametrize("kind", ["ShadowHost", "ShadowGroup", "ProviderAccount", "GatewayKey"])
    async def test_a_create_whose_answer_is_lost_makes_one_object(
        self, bench: Bench, kind: str, act: faults.Act
    ) -> None:
        manifests = {m.KIND: m for m in (bench.host, bench.group(), bench.account(), bench.key())}
        for before in list(manifests)[: list(manifests).index(kind)]:
            await bench.make(manifests[before])
        bench.faults.on("POST", r"/(users|groups|accounts|keys)$", act)

        made = await bench.make(manifests[kind])

        assert bench.differences(manifests[kind], made) == bench.differences(
            manifests[kind], await bench.driver.get(made.kind, made.object_id)
        )
        same = [item for item in await bench.driver.observe() if item.marker == made.marker]
        assert [item.object_id for item in same] == [made.object_id]

    async def test_a_create_that_never_happened_is_made_good(self, bench: Bench) -> None:
        bench.faults.on("POST", "groups", faults.times_out)

        made = await bench.make(bench.group())

        assert await bench.observed("ShadowGroup", made.object_id) == made

    async def test_a_create_that_keeps_being_lost_is_a_lost_answer(self, bench: Bench) -> None:
        bench.faults.on("POST", "groups", faults.times_out, times=1000)

        with pytest.raises(LostAnswer):
            await bench.make(bench.group())

    @pytest.mark.parametrize("act", [faults.loses_the_answer, faults.times_out, faults.garbles])
    async def test_an_update_whose_answer_is_lost_is_looked_at_and_completed(
        self, bench: Bench, act: faults.Act
    ) -> None:
        await bench.make(bench.group())
        made = await bench.make(bench.account())
        after = bench.account(priority=7, models=["shadow-small"])
        bench.faults.on("PUT", "accounts", act)

        assert bench.differences(after, await bench.change(made.object_id, after)) == ()

    @pytest.mark.parametrize("status", [401, 423, 429])
    async def test_a_refused_write_changes_nothing(self, bench: Bench, status: int) -> None:
        bench.faults.on("POST", "groups", answers(status, bench.wording(status)), times=1000)

        with pytest.raises(RemoteError):
            await bench.make(bench.group())

        bench.faults.rules.clear()
        assert not [item for item in await bench.driver.observe() if item.host_name == bench.name("chat")]

    async def test_a_write_is_not_repeated_after_a_failure_of_the_host(self, bench: Bench) -> None:
        bench.faults.on("POST", "groups", answers(500, bench.wording(500)), times=1000)

        with pytest.raises(RemoteError):
            await bench.make(bench.group())

        assert len(bench.faults.calls("POST", "groups")) == 1

    async def test_one_object_that_fails_leaves_the_others(self, bench: Bench) -> None:
        bench.faults.on("POST", "groups", answers(400, {"code": 400, "message": "no"}), times=1)

        outcomes = await asyncio.gather(
            *[bench.make(bench.group(f"group{number}")) for number in range(4)], return_exceptions=True
        )

        assert [type(outcome).__name__ for outcome in outcomes].count("ObservedObject") == 3


class Secrecy:
    async def test_no_secret_is_in_what_comes_out(self, bench: Bench) -> None:
        key = bench.key()
        await bench.make(bench.host)
        await bench.make(bench.group())
        await bench.make(bench.account())
        await bench.make(key)

        shown = repr(await bench.driver.observe()) + repr(bench.driver.__dict__)

        for secret in (CREDENTIAL, PASSWORD, bench.key_value(key)):
            assert secret not in shown

    @pytest.mark.parametrize("kind", ["ShadowHost", "ShadowGroup", "ProviderAccount", "GatewayKey"])
    async def test_an_error_that_quotes_a_secret_does_not_show_it(self, bench: Bench, kind: str) -> None:
        key = bench.key()
        manifests = {m.KIND: m for m in (bench.host, bench.group(), bench.account(), key)}
        for before in list(manifests)[: list(manifests).index(kind)]:
            await bench.make(manifests[before])
        quoted = f"bad {CREDENTIAL} {PASSWORD} {bench.key_value(key)}"
        known = bench.secrets(manifests[kind]).values()
        body = {"code": 400, "message": quoted, "reason": quoted}
        bench.faults.on("POST", r"/(users|groups|accounts|keys)$", answers(400, body), times=9)

        with pytest.raises(RemoteError) as caught:
            await bench.make(manifests[kind])

        for secret in known:
            assert secret not in repr(caught.value) + str(caught.value) + caught.value.reason


class Proving:
    async def test_a_request_is_found_in_the_usage_log_by_its_own_id(self, bench: Bench) -> None:
        manifests: list[Manifest] = [bench.group(), bench.account(), bench.key()]
        await bench.make(bench.host)
        group, account, key = [await bench.make(each) for each in manifests]
        await bench.driver.top_up(1, idempotency_key=f"top-up-{bench.suffix}")

        correlation_id = await bench.asked(bench.key())
        (row,) = await bench.rows(correlation_id)

        assert row.correlation_id == correlation_id
        assert (row.group_id, row.account_id, row.key_id) == (
            group.object_id,
            account.object_id,
            key.object_id,
        )
        assert (row.model, row.upstream_model, row.account_name) == (
            "shadow-small",
            "shadow-small",
            account.host_name,
        )
        of_key = await bench.driver.usage_of_key(key.object_id, since=row.recorded_at, until=row.recorded_at)
        assert of_key == [row]

    async def test_a_request_that_nobody_made_has_no_rows(self, bench: Bench) -> None:
        assert await bench.driver.usage("00000000-0000-4000-8000-000000000000") == []
        assert await bench.driver.errors("00000000-0000-4000-8000-000000000000") == []

    async def test_a_failed_request_is_in_the_error_log_and_not_in_the_usage_log(self, bench: Bench) -> None:
        await bench.make(bench.host)
        for each in (bench.group(), bench.account(), bench.key()):
            await bench.make(each)
        await bench.driver.top_up(1, idempotency_key=f"top-up-{bench.suffix}")
        await bench.asked(bench.key())

        response = await bench.ask(bench.key_value(bench.key()), "unheard-of", f"probe {bench.suffix}")
        correlation_id = bench.driver.correlation(response.headers, response.content)
        assert correlation_id is not None

        assert response.status_code == 404
        assert [row.correlation_id for row in await bench.error_rows(correlation_id)] == [correlation_id]
        assert await bench.driver.usage(correlation_id) == []
