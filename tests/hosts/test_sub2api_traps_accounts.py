"""sub2api's traps around accounts, the driver's side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from reconciler.errors import Malformed, NotFound, RemoteError
from reconciler.hosts.contract import Refs, Secrets
from reconciler.hosts.sub2api.shape import Json
from tests.hosts.bench import CREDENTIAL, fingerprint
from tests.hosts.faults import Act, answers, edits
from tests.hosts.sub2api_bench import EmbeddedBench, Sub2apiBench

OTHER_CREDENTIAL = "canary-upstream-key-2"


async def host_side(bench: Sub2apiBench, object_id: str) -> Json:
    found: Json = await bench.by_hand("GET", f"/accounts/{object_id}")
    return found


async def test_numbers_that_would_become_zero_are_always_sent(bench: Sub2apiBench) -> None:
    """An omitted concurrency is 0, unlimited; an omitted priority is 0, preferred over all."""
    await bench.make(bench.group())
    await bench.make(bench.account())

    (sent,) = bench.faults.calls("POST", "/accounts$")
    assert (sent.body["concurrency"], sent.body["priority"], sent.body["rate_multiplier"]) == (10, 50, 1.0)
    assert sent.body["group_ids"] == [int(bench.refs["ShadowGroup", bench.name("chat")])]


async def test_a_new_account_never_lands_in_the_default_group(embedded: EmbeddedBench) -> None:
    default = await embedded.foreign_group("openai-default")
    group = await embedded.make(embedded.group())

    await embedded.make(embedded.account())

    assert await embedded.driver.members(default) == []
    assert len(await embedded.driver.members(group.object_id)) == 1


async def test_unbinding_from_all_groups_does_not_fall_back_on_the_default_group(
    embedded: EmbeddedBench,
) -> None:
    default = await embedded.foreign_group("openai-default")
    await embedded.make(embedded.group())
    account = await embedded.make(embedded.account())

    bound = await embedded.driver.bind(account.object_id, frozenset())

    assert bound.fields["groups"] == []
    assert await embedded.driver.members(default) == []


async def test_bindings_are_read_back_for_the_create_does_not_tell_them(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())

    made = await bench.make(bench.account())

    assert made.fields["groups"] == [bench.name("chat")]
    assert len(bench.faults.calls("GET", f"/accounts/{made.object_id}$")) == 1


async def test_an_unknown_group_is_found_out_before_an_orphan_is_made(bench: Sub2apiBench) -> None:
    bench.refs["ShadowGroup", bench.name("chat")] = "999999999"

    with pytest.raises(NotFound):
        await bench.make(bench.account())

    assert bench.faults.calls("POST", "/accounts$") == []


async def test_a_group_deleted_at_the_last_moment_is_noticed_and_the_orphan_found_again(
    bench: Sub2apiBench,
) -> None:
    """The host binds to the dead row and lists its id: the account looks bound, and is not."""
    group = await bench.make(bench.group())
    bench.faults.on("POST", "/accounts$", deletes_first(bench, group.object_id))

    with pytest.raises(NotFound):
        await bench.make(bench.account())

    again = await bench.make(bench.group())
    account = await bench.make(bench.account())
    assert account.fields["groups"] == [bench.name("chat")]
    assert [item.object_id for item in await bench.driver.members(again.object_id)] == [account.object_id]
    assert len([item for item in await bench.driver.observe() if item.marker == account.marker]) == 1


def deletes_first(bench: Sub2apiBench, group_id: str) -> Act:
    async def act(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        await bench.by_hand("DELETE", f"/groups/{group_id}")
        return await inner.handle_async_request(request)

    return act


async def test_an_account_inserted_by_a_create_that_failed_is_taken_up_and_bound(bench: Sub2apiBench) -> None:
    """A failure between insert and binding answers 500 and leaves the account without groups."""
    await bench.make(bench.group())
    bench.faults.on("POST", "/accounts$", inserts_without_groups(bench))

    made = await bench.make(bench.account())

    assert made.fields["groups"] == [bench.name("chat")]
    assert len(bench.faults.calls("POST", "/accounts$")) == 1


def inserts_without_groups(bench: Sub2apiBench) -> Act:
    async def act(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        raw = await response.aread()
        await response.aclose()
        made = httpx.Response(response.status_code, content=raw).json()["data"]
        await bench.by_hand("PUT", f"/accounts/{made['id']}", {"group_ids": []})
        return httpx.Response(500, json=bench.wording(500), request=request)

    return act


async def test_names_are_not_unique_so_the_marker_tells_which_is_ours(bench: Sub2apiBench) -> None:
    await bench.make(bench.group("chat"))
    first = await bench.make(bench.account("alpha", hostName=bench.name("same")))
    second = await bench.make(bench.account("beta", hostName=bench.name("same")))

    assert first.object_id != second.object_id
    assert (
        await bench.make(bench.account("alpha", hostName=bench.name("same")))
    ).object_id == first.object_id


async def test_an_account_made_deleted_and_made_again_is_really_made_again(bench: Sub2apiBench) -> None:
    """An idempotency key that was used before would answer with the deleted account for a day."""
    await bench.make(bench.group())
    first = await bench.make(bench.account())
    await bench.driver.delete("ProviderAccount", first.object_id, first.marker)

    second = await bench.make(bench.account())

    assert second.object_id != first.object_id
    assert await bench.driver.get("ProviderAccount", second.object_id) == second


async def test_deleting_what_is_not_there_is_known_by_looking_for_the_host_says_200(
    bench: Sub2apiBench,
) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account())
    await bench.driver.delete("ProviderAccount", made.object_id, made.marker)
    bench.faults.sent.clear()

    await bench.driver.delete("ProviderAccount", made.object_id, made.marker)

    assert bench.faults.writes() == []


async def test_an_edit_without_the_secret_keeps_it_and_the_credentials_that_are_not_ours(
    bench: Sub2apiBench,
) -> None:
    """A PUT replaces non-secret credentials as a whole, and an empty api_key would wipe the secret."""
    await bench.make(bench.group())
    made = await bench.make(bench.account())
    current = (await host_side(bench, made.object_id))["credentials"]
    by_hand = {**current, "temp_unschedulable_enabled": True}
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"credentials": by_hand})

    after = bench.account(models=["shadow-small"])
    changed = await bench.change(made.object_id, after)

    found = await host_side(bench, made.object_id)
    assert bench.differences(after, changed) == ()
    assert found["credentials"]["temp_unschedulable_enabled"] is True
    assert found["credentials_status"] == {"has_api_key": True}
    assert "api_key" not in bench.faults.calls("PUT", "/accounts/")[-1].body["credentials"]


async def test_a_setting_taken_out_of_the_manifest_is_taken_out_of_the_credentials(
    bench: Sub2apiBench,
) -> None:
    await bench.make(bench.group())
    settings = {
        "poolMode": True,
        "headers": {"X-Team": "a"},
        "userAgent": "reconciler",
        "capabilities": ["embeddings"],
    }
    made = await bench.make(bench.account(settings=settings))

    assert bench.differences(bench.account(), await bench.change(made.object_id, bench.account())) == ()
    assert set((await host_side(bench, made.object_id))["credentials"]) == {"base_url", "model_mapping"}


async def test_an_edit_does_not_wipe_what_the_host_learnt_in_extra(bench: Sub2apiBench) -> None:
    """A PUT with `extra` replaces it whole, so ours is merged in."""
    await bench.make(bench.group())
    made = await bench.make(bench.account(settings={"responsesMode": "auto"}))
    learnt = {"openai_responses_mode": "auto", "openai_responses_supported": False, "by_hand": 1}
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"extra": learnt})

    changed = await bench.change(made.object_id, bench.account(priority=7))

    extra = (await host_side(bench, made.object_id))["extra"]
    assert changed.fields["settings"]["responsesMode"] == "force_chat_completions"
    assert (extra["openai_responses_mode"], extra["by_hand"]) == ("force_chat_completions", 1)
    assert extra["openai_responses_supported"] is False
    assert all("extra" not in sent.body for sent in bench.faults.calls("PUT", "/accounts/"))


async def test_keys_that_the_host_adds_to_extra_are_no_drift(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    account = bench.account()
    made = await bench.make(account)
    assert "openai_long_context_billing_enabled" in (await host_side(bench, made.object_id))["extra"]

    assert bench.differences(account, await bench.observed("ProviderAccount", made.object_id)) == ()


async def test_chat_completions_are_forced_unless_the_manifest_says_otherwise(bench: Sub2apiBench) -> None:
    """Left to itself the host may turn chat requests into /v1/responses calls that the upstream does not have."""
    await bench.make(bench.group())
    made = await bench.make(bench.account())

    assert (await host_side(bench, made.object_id))["extra"][
        "openai_responses_mode"
    ] == "force_chat_completions"


async def test_passthrough_switched_on_by_hand_is_drift_for_it_opens_every_model(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    account = bench.account()
    made = await bench.make(account)
    extra = {"openai_passthrough": True, "openai_responses_mode": "force_chat_completions"}
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"extra": extra})
    drifted = await bench.driver.get("ProviderAccount", made.object_id)

    assert [change.path for change in bench.differences(account, drifted)] == ["settings.passthrough"]
    assert bench.differences(account, await bench.change(made.object_id, account)) == ()


async def test_models_are_an_identity_mapping_which_is_the_whitelist(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account(models=["b", "a"]))

    assert (await host_side(bench, made.object_id))["credentials"]["model_mapping"] == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    "by_hand,shown",
    [
        ({"shadow-small": "other"}, ["shadow-small -> other"]),
        ({"shadow-*": "shadow-*"}, ["shadow-*"]),
        ({}, []),
    ],
)
async def test_a_mapping_changed_by_hand_is_seen_and_put_right(
    bench: Sub2apiBench, by_hand: dict[str, str], shown: list[str]
) -> None:
    await bench.make(bench.group())
    account = bench.account()
    made = await bench.make(account)
    credentials = {"base_url": bench.upstream, "model_mapping": by_hand}
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"credentials": credentials})
    drifted = await bench.driver.get("ProviderAccount", made.object_id)

    assert drifted is not None
    assert drifted.fields["models"] == shown
    assert bench.differences(account, await bench.change(made.object_id, account)) == ()


async def test_an_earlier_form_with_a_renamed_model_can_be_put_back(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account())
    desired = bench.desired(bench.account())[0]
    earlier = replace(desired, fields={**desired.fields, "models": ["a", "b -> c"]})

    back = await bench.driver.update(
        made.object_id, earlier, bench.marker(desired), Secrets(), Refs(bench.refs)
    )

    assert back.fields["models"] == ["a", "b -> c"]


async def test_header_names_are_compared_in_lower_case_as_they_are_stored(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    account = bench.account(settings={"headers": {"X-Team": "Blue", "X-Area": "north"}})

    made = await bench.make(account)

    assert made.fields["settings"]["headers"] == {"x-area": "north", "x-team": "Blue"}
    assert bench.differences(account, made) == ()


async def test_headers_switched_off_by_hand_are_drift(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    account = bench.account(settings={"headers": {"X-Team": "Blue"}})
    made = await bench.make(account)
    credentials = {
        **(await host_side(bench, made.object_id))["credentials"],
        "header_override_enabled": False,
    }
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"credentials": credentials})
    drifted = await bench.driver.get("ProviderAccount", made.object_id)

    drifted = await bench.driver.get("ProviderAccount", made.object_id)

    assert [change.path for change in bench.differences(account, drifted)] == ["settings.headers.x-team"]
    assert bench.differences(account, await bench.change(made.object_id, account)) == ()


async def test_a_secret_is_never_read_but_its_fingerprint_stands_in_the_marker(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account())

    assert made.marker is not None
    assert made.marker.fingerprint == fingerprint(CREDENTIAL)
    assert made.runtime["hasCredential"] is True
    assert CREDENTIAL not in repr(made)


async def test_a_secret_given_to_an_update_is_written_with_its_fingerprint(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account())
    desired = bench.desired(bench.account(), {"credential": OTHER_CREDENTIAL})[0]

    changed = await bench.driver.update(
        made.object_id,
        desired,
        bench.marker(desired),
        Secrets({"credential": OTHER_CREDENTIAL}),
        Refs(bench.refs),
    )

    assert changed.marker is not None
    assert changed.marker.fingerprint == fingerprint(OTHER_CREDENTIAL)
    assert bench.faults.calls("PUT", "/accounts/")[-1].body["credentials"]["api_key"] == OTHER_CREDENTIAL


async def test_notes_that_a_person_wrote_stay_behind_the_marker(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    account = bench.account()
    made = await bench.make(account)
    notes = f"{made.marker}\n  ask Ada before you touch this "
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"notes": notes})

    changed = await bench.change(made.object_id, bench.account(priority=7))

    assert changed.marker == made.marker
    assert (await host_side(bench, made.object_id))["notes"] == notes.strip()


async def test_a_group_bound_twice_is_sent_once(bench: Sub2apiBench) -> None:
    """Equal ids in group_ids are a 500 that has already applied the rest of the request."""
    group = await bench.make(bench.group())
    desired = bench.desired(bench.account())[0]
    doubled = replace(
        desired, fields={**desired.fields, "groups": [bench.name("chat"), f"#{group.object_id}"]}
    )

    made = await bench.make_object(doubled, {"credential": CREDENTIAL})

    assert made.fields["groups"] == [bench.name("chat")]
    assert bench.faults.calls("POST", "/accounts$")[0].body["group_ids"] == [int(group.object_id)]


async def test_a_new_binding_is_appended_for_the_position_is_a_priority(bench: Sub2apiBench) -> None:
    chat, batch = await bench.make(bench.group("chat")), await bench.make(bench.group("batch"))
    account = await bench.make(bench.account(groups=("batch",)))

    await bench.driver.bind(account.object_id, frozenset({chat.object_id, batch.object_id}))

    assert bench.faults.calls("PUT", "/accounts/")[-1].body == {
        "group_ids": [int(batch.object_id), int(chat.object_id)]
    }


async def test_binding_touches_nothing_but_the_groups(bench: Sub2apiBench) -> None:
    await bench.make(bench.group("chat"))
    batch = await bench.make(bench.group("batch"))
    account = await bench.make(bench.account(settings={"headers": {"X-Team": "a"}}))

    bound = await bench.driver.bind(account.object_id, frozenset({batch.object_id}))

    same = {name: value for name, value in account.fields.items() if name != "groups"}
    assert {name: value for name, value in bound.fields.items() if name != "groups"} == same


async def test_an_unbound_account_has_no_groups_key_and_reads_as_none(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account())
    await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"group_ids": []})

    assert "group_ids" not in await host_side(bench, made.object_id)
    drifted = await bench.observed("ProviderAccount", made.object_id)
    assert next(change.path for change in bench.differences(bench.account(), drifted)) == "groups[0]"


class TestStateThatTheHostMakes:
    """Drift that is no configuration: reported, told apart from an operator's pause, repaired only on demand."""

    async def erring(self, bench: Sub2apiBench, **settings: Any) -> str:
        """Make an account and leave it as an upstream's 401 does: status error, taken out of scheduling."""
        await bench.make(bench.group())
        made = await bench.make(bench.account(settings=settings))
        await bench.by_hand("PUT", f"/accounts/{made.object_id}", {"status": "error"})
        await bench.by_hand("POST", f"/accounts/{made.object_id}/schedulable", {"schedulable": False})
        return made.object_id

    async def test_an_error_mark_is_reported_and_no_drift(self, bench: Sub2apiBench) -> None:
        account_id = await self.erring(bench)
        seen = await bench.driver.get("ProviderAccount", account_id)
        marks = await bench.driver.marks(account_id)

        assert bench.differences(bench.account(), seen) == ()
        assert seen is not None
        assert (seen.runtime["status"], seen.runtime["pausedByOperator"]) == ("error", False)
        assert not marks.healthy
        assert not marks.paused_by_operator
        assert [reason.partition(":")[0] for reason in marks.reasons] == ["error"]

    async def test_an_update_leaves_an_error_mark_alone(self, bench: Sub2apiBench) -> None:
        account_id = await self.erring(bench)

        changed = await bench.change(account_id, bench.account(priority=7))

        assert changed.runtime["status"] == "error"

    async def test_an_error_mark_is_cleared_where_the_manifest_says_so(self, bench: Sub2apiBench) -> None:
        """Clearing the error leaves it out of scheduling; that has to be undone by itself."""
        account_id = await self.erring(bench, repair=True)
        account = bench.account(settings={"repair": True})
        seen = await bench.driver.get("ProviderAccount", account_id)
        assert [change.path for change in bench.differences(account, seen)] == ["marked"]

        changed = await bench.change(account_id, account)

        assert bench.differences(account, changed) == ()
        assert (await bench.driver.marks(account_id)).healthy

    async def test_an_operators_pause_is_respected_and_reported(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.group())
        account = bench.account()
        made = await bench.make(account)
        await bench.by_hand("POST", f"/accounts/{made.object_id}/schedulable", {"schedulable": False})

        seen = await bench.driver.get("ProviderAccount", made.object_id)
        changed = await bench.change(made.object_id, bench.account(priority=7))

        assert bench.differences(account, seen) == ()
        assert (await bench.driver.marks(made.object_id)).paused_by_operator
        assert changed.runtime["pausedByOperator"] is True

    async def test_a_pause_is_undone_where_the_manifest_says_so(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.group())
        account = bench.account(settings={"paused": False})
        made = await bench.make(account)
        for path, body in (("/schedulable", {"schedulable": False}), ("", {"status": "inactive"})):
            method = "POST" if path else "PUT"
            await bench.by_hand(method, f"/accounts/{made.object_id}{path}", body)
        seen = await bench.driver.get("ProviderAccount", made.object_id)
        assert [change.path for change in bench.differences(account, seen)] == ["paused"]

        assert bench.differences(account, await bench.change(made.object_id, account)) == ()
        assert (await bench.driver.marks(made.object_id)).healthy

    async def test_a_manifest_can_pause_an_account(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.group())
        account = bench.account(settings={"paused": True})

        made = await bench.make(account)

        assert bench.differences(account, made) == ()
        assert (await bench.driver.marks(made.object_id)).paused_by_operator

    async def test_an_account_in_error_can_be_paused_too(self, bench: Sub2apiBench) -> None:
        account_id = await self.erring(bench)
        account = bench.account(settings={"paused": True})

        assert bench.differences(account, await bench.change(account_id, account)) == ()
        assert (await bench.driver.marks(account_id)).paused_by_operator

    @pytest.mark.parametrize(
        "status,word",
        [
            (401, "error"),
            (402, "error"),
            (403, "temp_unschedulable"),
            (429, "rate_limited"),
            (529, "overloaded"),
        ],
    )
    async def test_an_upstreams_refusal_is_a_mark_and_never_drift(
        self, bench: Sub2apiBench, status: int, word: str
    ) -> None:
        account_id = await self.refused(bench, status)
        account = bench.account(baseUrl=bench.failing_upstream(status))

        marks = await bench.driver.marks(account_id)

        assert [reason.partition(":")[0] for reason in marks.reasons] == [word]
        assert not marks.paused_by_operator
        assert bench.differences(account, await bench.driver.get("ProviderAccount", account_id)) == ()

    @pytest.mark.parametrize("status,seconds", [(403, 601), (429, 61), (529, 601)])
    async def test_a_timed_mark_counts_until_its_time_is_over(
        self, embedded: EmbeddedBench, status: int, seconds: float
    ) -> None:
        account_id = await self.refused(embedded, status)
        assert not (await embedded.driver.marks(account_id)).healthy

        await embedded.pass_time(seconds)

        assert (await embedded.driver.marks(account_id)).healthy

    async def refused(self, bench: Sub2apiBench, status: int) -> str:
        """Make an account, let its upstream refuse one request, and return the account's id."""
        key = bench.key()
        await bench.make(bench.host)
        await bench.make(bench.group())
        account = await bench.make(bench.account(baseUrl=bench.failing_upstream(status)))
        await bench.make(key)
        await bench.driver.top_up(1, idempotency_key=bench.suffix)
        for attempt in range(30):
            await bench.ask(bench.key_value(key), "shadow-small", f"probe {attempt}")
            if not (await bench.driver.marks(account.object_id)).healthy:
                break
            await bench.pass_time(0.2)
        return account.object_id

    async def test_a_model_that_the_upstream_does_not_know_is_a_mark_of_that_model(
        self, bench: Sub2apiBench
    ) -> None:
        await bench.make(bench.group())
        made = await bench.make(bench.account())
        now = bench.now()
        limits = {
            "shadow-small": {"rate_limit_reset_at": (now + timedelta(minutes=30)).isoformat()},
            "shadow-large": {"rate_limit_reset_at": (now - timedelta(minutes=1)).isoformat()},
        }
        bench.faults.on(
            "GET", "/accounts/", edits(lambda body: body["data"]["extra"].update(model_rate_limits=limits))
        )

        assert (await bench.driver.marks(made.object_id)).reasons == ("model_rate_limited: shadow-small",)


async def test_an_account_without_an_id_is_malformed_and_no_stray_error(bench: Sub2apiBench) -> None:
    page = {
        "code": 0,
        "data": {"items": [{"name": "x"}], "total": 1, "page": 1, "page_size": 1000, "pages": 1},
    }
    bench.faults.on("GET", "/accounts$", answers(200, page), times=9)

    with pytest.raises(Malformed, match="missing 'id'"):
        await bench.driver.observe()


async def test_a_mixed_channel_warning_is_a_conflict_by_its_name(bench: Sub2apiBench) -> None:
    """It comes without the usual envelope."""
    await bench.make(bench.group())
    warning = {"error": "mixed_channel_warning", "message": "mixed"}
    bench.faults.on("POST", "/accounts$", answers(409, warning), times=9)

    with pytest.raises(RemoteError) as caught:
        await bench.make(bench.account())

    assert caught.value.reason == "mixed_channel_warning"
