"""sub2api's traps around keys and the service user that owns them, the driver's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import Blocked, Conflict, InvalidInput, RateLimited, Unauthorized
from reconciler.hosts.contract import Refs, Secrets
from reconciler.plan.model import Marker, ObservedObject
from tests.hosts.bench import PASSWORD, fingerprint
from tests.hosts.faults import answers, edits
from tests.hosts.sub2api_bench import EmbeddedBench, Sub2apiBench


async def ready(bench: Sub2apiBench, **group: Any) -> ObservedObject:
    """Make the service user, a group and a key in it."""
    await bench.make(bench.host)
    await bench.make(bench.group(**group))
    return await bench.make(bench.key())


async def issuer(bench: Sub2apiBench) -> dict[str, Any]:
    user_id = bench.refs["KeyIssuer", bench.host.name]
    found: dict[str, Any] = await bench.by_hand("GET", f"/users/{user_id}")
    return found


class TestMakingKeys:
    async def test_keys_are_made_as_the_service_user_for_the_admin_key_cannot(
        self, bench: Sub2apiBench
    ) -> None:
        await ready(bench)

        for sent in bench.faults.calls("POST", "/keys$"):
            assert sent.headers["authorization"].startswith("Bearer ey")
            assert "x-api-key" not in sent.headers

    async def test_one_login_serves_many_keys(self, bench: Sub2apiBench) -> None:
        """Logins are limited to 20 a minute."""
        await bench.make(bench.host)
        await bench.make(bench.group())

        await asyncio.gather(*[bench.make(bench.key(f"key{number}")) for number in range(8)])

        assert len(bench.faults.calls("POST", "/auth/login$")) == 1

    async def test_a_token_that_ran_out_is_renewed_once(self, bench: Sub2apiBench) -> None:
        await ready(bench)
        expired = {"code": "TOKEN_EXPIRED", "message": "token has expired"}
        bench.faults.on("GET", "/keys$", answers(401, expired))

        await bench.make(bench.key("other"))

        assert len(bench.faults.calls("POST", "/auth/login$")) == 2

    async def test_a_token_that_is_never_good_ends_in_unauthorized(self, bench: Sub2apiBench) -> None:
        await ready(bench)
        bench.faults.on("*", "/keys", answers(401, {"code": "TOKEN_REVOKED", "message": "revoked"}), times=99)

        with pytest.raises(Unauthorized):
            await bench.make(bench.key("other"))

        assert len(bench.faults.calls("POST", "/auth/login$")) == 2
        bench.faults.rules.clear()

    async def test_a_password_that_is_wrong_says_where_to_look(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)
        await bench.make(bench.group())

        with pytest.raises(Unauthorized) as caught:
            await bench.make(bench.key(), driver=bench.open(issuer_password="canary-wrong-password-1"))

        assert caught.value.reason == "INVALID_CREDENTIALS"
        assert "passwordFrom" in str(caught.value)

    async def test_a_login_that_is_limited_is_waited_for_and_then_reported(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)
        await bench.make(bench.group())
        limited = {"error": "rate limit exceeded", "message": "Too many requests, please try again later"}
        bench.faults.on("POST", "/auth/login$", answers(429, limited, {"Retry-After": "5"}), times=99)

        with pytest.raises(RateLimited):
            await bench.make(bench.key())

        assert sum(bench.time.slept) >= 5

    async def test_a_login_that_wants_a_second_factor_is_blocked(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)
        await bench.make(bench.group())
        asks = {
            "code": 0,
            "message": "success",
            "data": {"requires_2fa": True, "temp_token": "canary-temp-1"},
        }
        bench.faults.on("POST", "/auth/login$", answers(200, asks), times=9)

        with pytest.raises(Blocked, match="second factor"):
            await bench.make(bench.key())

    async def test_a_host_in_simple_mode_is_refused_for_groups_do_not_route_there(self) -> None:
        bench = EmbeddedBench(run_mode="simple")
        await bench.make(bench.host)
        await bench.make(bench.group())

        with pytest.raises(Blocked, match="simple mode"):
            await bench.make(bench.key())

        await bench.close()

    async def test_the_value_is_ours_so_that_a_retry_makes_the_same_key(self, bench: Sub2apiBench) -> None:
        made = await ready(bench)
        value = bench.key_value(bench.key())

        assert bench.faults.calls("POST", "/keys$")[0].body["custom_key"] == value
        assert made.runtime["fingerprint"] == fingerprint(value)

    @pytest.mark.parametrize(
        "value", ["short", "x" * 129, "canary key with spaces", "canary-ключ-0123456789"]
    )
    async def test_a_value_that_the_host_would_refuse_is_not_sent(
        self, bench: Sub2apiBench, value: str
    ) -> None:
        await bench.make(bench.host)
        await bench.make(bench.group())

        with pytest.raises(InvalidInput) as caught:
            await bench.make(bench.key(), {"value": value})

        assert value not in str(caught.value)
        assert bench.faults.calls("POST", "/keys$") == []

    async def test_a_value_that_somebody_else_holds_is_a_conflict(self, bench: Sub2apiBench) -> None:
        await ready(bench)
        same = bench.key_value(bench.key())

        with pytest.raises(Conflict) as caught:
            await bench.make(bench.key("other"), {"value": same})

        assert caught.value.reason == "API_KEY_EXISTS"
        assert same not in str(caught.value)

    async def test_the_marker_with_another_value_behind_it_is_a_conflict(self, bench: Sub2apiBench) -> None:
        made = await ready(bench)
        key = bench.key()
        desired = bench.desired(key)[0]

        with pytest.raises(Conflict, match="another value"):
            await bench.driver.create(
                desired,
                bench.marker(desired),
                Secrets({"value": "canary-gateway-key-other"}),
                Refs(bench.refs),
            )

        assert (await bench.driver.get("GatewayKey", made.object_id)) == made

    async def test_a_key_made_deleted_and_made_again_is_really_made_again(self, bench: Sub2apiBench) -> None:
        first = await ready(bench)
        await bench.driver.delete("GatewayKey", first.object_id, first.marker)

        second = await bench.make(bench.key())

        assert second.object_id != first.object_id
        assert second.runtime["fingerprint"] == first.runtime["fingerprint"]

    async def test_a_new_version_is_a_second_key_beside_the_first(self, bench: Sub2apiBench) -> None:
        first = await ready(bench)

        second = await bench.make(bench.key(version=2))

        assert second.object_id != first.object_id
        assert (first.fields["version"], second.fields["version"]) == (1, 2)
        assert await bench.driver.get("GatewayKey", first.object_id) == first

    async def test_a_name_is_only_characters_that_the_host_does_not_escape(self, bench: Sub2apiBench) -> None:
        made = await ready(bench)

        assert made.host_name == str(made.marker)
        assert set(made.host_name) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._:-"
        )

    async def test_the_longest_name_that_fits_is_kept_whole(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)
        await bench.make(bench.group())
        word = "k" * (52 - 1 - len(bench.suffix))

        made = await bench.make(bench.key(word))

        assert len(made.host_name) == 100
        assert made.marker is not None
        assert made.marker.name == bench.name(word)

    def test_a_name_that_would_not_fit_beside_the_marker_is_refused_before_anything_is_sent(
        self, bench: Sub2apiBench
    ) -> None:
        word = "k" * (53 - 1 - len(bench.suffix))

        with pytest.raises(InvalidInput, match="at most 52 characters"):
            bench.desired(bench.key(word))

    def test_a_key_given_by_a_secret_source_is_nothing_on_the_host(self, bench: Sub2apiBench) -> None:
        given = bench.key(valueFrom={"env": "RECONCILE_SECRET_HOST_KEY"})

        assert bench.desired(given) == []

    async def test_a_host_without_key_issuer_cannot_make_keys(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.group())
        spec = bench.host.spec.model_copy(update={"key_issuer": None})
        bench.host = bench.host.model_copy(update={"spec": spec})

        with pytest.raises(InvalidInput, match=r"keyIssuer"):
            await bench.make(bench.key(), driver=bench.open())

    async def test_the_service_user_is_let_into_an_exclusive_group_and_keeps_the_others(
        self, bench: Sub2apiBench
    ) -> None:
        await bench.make(bench.host)
        earlier = await bench.make(bench.group("earlier", settings={"exclusive": True}))
        later = await bench.make(bench.group("later", settings={"exclusive": True}))
        user_id = bench.refs["KeyIssuer", bench.host.name]
        await bench.by_hand("PUT", f"/users/{user_id}", {"allowed_groups": [int(earlier.object_id)]})

        made = await bench.make(bench.key(group="later"))

        assert made.fields["group"] == bench.name("later")
        allowed = (await issuer(bench))["allowed_groups"]
        assert sorted(allowed) == [int(earlier.object_id), int(later.object_id)]


class TestKeysThatStand:
    async def test_a_key_moved_by_an_admin_is_drift_and_moved_back(self, bench: Sub2apiBench) -> None:
        made = await ready(bench)
        other = await bench.make(bench.group("other"))
        await bench.by_hand("PUT", f"/api-keys/{made.object_id}", {"group_id": int(other.object_id)})
        drifted = await bench.observed("GatewayKey", made.object_id)
        assert [change.path for change in bench.differences(bench.key(), drifted)] == ["group"]

        back = await bench.change(made.object_id, bench.key())

        assert bench.differences(bench.key(), back) == ()
        assert back.runtime["fingerprint"] == made.runtime["fingerprint"]

    async def test_a_key_without_group_is_drift(self, bench: Sub2apiBench) -> None:
        made = await ready(bench)
        await bench.by_hand("PUT", f"/api-keys/{made.object_id}", {"group_id": 0})

        drifted = await bench.observed("GatewayKey", made.object_id)

        assert [change.path for change in bench.differences(bench.key(), drifted)] == ["group"]
        assert bench.differences(bench.key(), await bench.change(made.object_id, bench.key())) == ()

    @pytest.mark.parametrize("status", ["quota_exhausted", "expired"])
    async def test_a_status_that_the_host_makes_is_reported_and_no_drift(
        self, bench: Sub2apiBench, status: str
    ) -> None:
        made = await ready(bench)
        change = edits(lambda body: [row.update(status=status) for row in body["data"]["items"]])
        bench.faults.on("GET", "/api-keys$", change)

        seen = await bench.observed("GatewayKey", made.object_id)

        assert bench.differences(bench.key(), seen) == ()
        assert seen is not None
        assert seen.runtime["status"] == status

    async def test_keys_of_other_users_are_not_looked_at(self, bench: Sub2apiBench) -> None:
        """They are plain text in every answer, so none is asked for."""
        await ready(bench)
        bench.faults.sent.clear()

        await bench.driver.observe()

        user_id = bench.refs["KeyIssuer", bench.host.name]
        assert [sent.path for sent in bench.faults.sent if "keys" in sent.path] == [
            f"/api/v1/admin/users/{user_id}/api-keys"
        ]

    async def test_what_is_observed_holds_no_key(self, bench: Sub2apiBench) -> None:
        await ready(bench)

        assert bench.key_value(bench.key()) not in repr(await bench.driver.observe())

    async def test_a_key_made_by_hand_for_the_service_user_is_foreign(self, bench: Sub2apiBench) -> None:
        await ready(bench)
        theirs = Marker("inst-theirs00", "GatewayKey", bench.name("theirs"), "-")
        desired = replace(bench.desired(bench.key())[0])
        made = await bench.driver.create(
            desired, theirs, Secrets({"value": f"canary-{bench.suffix}-foreign-key"}), Refs(bench.refs)
        )
        bench.remember(desired, made.object_id)
        ours = bench.marker(bench.desired(bench.key())[0])

        with pytest.raises(Conflict, match="left alone"):
            await bench.driver.delete("GatewayKey", made.object_id, ours)


class TestTheServiceUser:
    async def test_concurrency_is_always_said(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)

        assert bench.faults.calls("POST", "/users$")[0].body["concurrency"] == 0
        assert (await issuer(bench))["concurrency"] == 0

    async def test_it_starts_with_nothing_for_topping_up_has_a_ceiling(self, bench: Sub2apiBench) -> None:
        made = await bench.make(bench.host)

        assert made.fields["balanceOk"] is False
        assert await bench.driver.issuer_balance() == 0

    async def test_the_balance_is_a_floor_and_not_a_value(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)

        balance = await bench.driver.top_up(7.5, idempotency_key=bench.suffix)

        seen = await bench.observed("KeyIssuer", bench.refs["KeyIssuer", bench.host.name])
        assert balance == 7.5
        assert bench.differences(bench.host, seen) == ()

    async def test_a_top_up_repeated_under_its_key_counts_once(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)

        for _ in (1, 2):
            await bench.driver.top_up(3, idempotency_key=bench.suffix)

        assert await bench.driver.issuer_balance() == 3

    async def test_an_update_never_touches_the_balance_for_the_host_would_ignore_it(
        self, bench: Sub2apiBench
    ) -> None:
        await bench.make(bench.host)
        await bench.driver.top_up(3, idempotency_key=bench.suffix)

        await bench.change(bench.refs["KeyIssuer", bench.host.name], bench.host)

        assert await bench.driver.issuer_balance() == 3
        assert all("balance" not in sent.body for sent in bench.faults.calls("PUT", "/users/"))

    @pytest.mark.parametrize("field,value", [("status", "disabled"), ("concurrency", 1)])
    async def test_a_hands_change_that_would_stop_traffic_is_put_right(
        self, bench: Sub2apiBench, field: str, value: object
    ) -> None:
        await bench.make(bench.host)
        await bench.driver.top_up(9, idempotency_key=bench.suffix)
        user_id = bench.refs["KeyIssuer", bench.host.name]
        await bench.by_hand("PUT", f"/users/{user_id}", {field: value})
        drifted = await bench.observed("KeyIssuer", user_id)
        assert [change.path for change in bench.differences(bench.host, drifted)] == [field]

        assert bench.differences(bench.host, await bench.change(user_id, bench.host)) == ()

    async def test_groups_that_it_was_let_into_survive_an_update(self, bench: Sub2apiBench) -> None:
        await bench.make(bench.host)
        group = await bench.make(bench.group(settings={"exclusive": True}))
        await bench.make(bench.key())

        await bench.change(bench.refs["KeyIssuer", bench.host.name], bench.host)

        assert (await issuer(bench))["allowed_groups"] == [int(group.object_id)]

    async def test_a_foreign_user_of_the_address_is_a_conflict_and_untouched(
        self, bench: Sub2apiBench
    ) -> None:
        assert bench.host.spec.key_issuer is not None
        body = {"email": bench.host.spec.key_issuer.email.upper(), "password": PASSWORD, "concurrency": 1}
        user_id = await bench.hand_made("/users", body)

        with pytest.raises(Conflict, match="not ours"):
            await bench.make(bench.host)

        assert (await bench.by_hand("GET", f"/users/{user_id}"))["notes"] == ""

    async def test_another_address_keeps_the_user_and_the_keys(self, bench: Sub2apiBench) -> None:
        made = await ready(bench)
        user_id = bench.refs["KeyIssuer", bench.host.name]
        issuer_spec = bench.host.spec.key_issuer
        assert issuer_spec is not None
        moved = issuer_spec.model_copy(update={"email": f"moved-{bench.suffix}@example.com"})
        spec = bench.host.spec.model_copy(update={"key_issuer": moved})
        bench.host = bench.host.model_copy(update={"spec": spec})
        driver = bench.driver = bench.open()

        seen = await bench.observed("KeyIssuer", user_id)
        assert "name" in [change.path for change in bench.differences(bench.host, seen)]
        await bench.change(user_id, bench.host, {"password": PASSWORD})

        assert (await issuer(bench))["email"] == f"moved-{bench.suffix}@example.com"
        assert await driver.get("GatewayKey", made.object_id) == made
        assert (await bench.make(bench.key("other"))).object_id != made.object_id

    async def test_a_new_password_is_used_from_then_on(self, bench: Sub2apiBench) -> None:
        await ready(bench)
        user_id = bench.refs["KeyIssuer", bench.host.name]

        await bench.change(user_id, bench.host, {"password": "canary-issuer-password-2"})

        await bench.make(bench.key("other"))
        assert bench.faults.calls("POST", "/auth/login$")[-1].body["password"] == "canary-issuer-password-2"


class TestTheGate:
    @pytest.fixture
    async def gated(self) -> AsyncIterator[EmbeddedBench]:
        bench = EmbeddedBench(compliance_gate=True)
        yield bench
        await bench.close()

    async def test_a_closed_gate_is_reported_and_nothing_else_happens(self, gated: EmbeddedBench) -> None:
        with pytest.raises(Blocked) as caught:
            await gated.driver.check()

        assert caught.value.reason == "ADMIN_COMPLIANCE_ACK_REQUIRED"
        assert "accept-compliance" in str(caught.value)
        assert gated.faults.writes() == []

    async def test_the_gate_is_never_opened_by_the_way(self, gated: EmbeddedBench) -> None:
        for attempt in (gated.driver.check(), gated.driver.observe(), gated.make(gated.group())):
            with pytest.raises(Blocked):
                await attempt

        assert [sent.path for sent in gated.faults.sent if "compliance" in sent.path] == []

    async def test_it_is_opened_with_the_hosts_own_words_on_command(self, gated: EmbeddedBench) -> None:
        gate = await gated.driver.gate()
        assert gate is not None
        assert gate.phrase
        assert gate.url.startswith("https://")

        await gated.driver.accept_gate(gate)

        assert await gated.driver.gate() is None
        assert (await gated.driver.check()).version
