"""Proving one account: a temporary group and key of ours through which nothing but this account can answer.

A new account is created straight into that *quarantine group*; one in service gets it appended as last, and loses
only that id again. Everything made here carries a marker of kind `Quarantine`, by which the janitor finds what a
crash left behind.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.errors import RemoteError
from reconciler.hosts.contract import HostDriver, NormalizeContext, Refs, Secrets
from reconciler.manifest import Location, ProviderAccount, ShadowGroup, ShadowHost
from reconciler.manifest.gateway_key import GatewayKey
from reconciler.manifest.meta import API_VERSION
from reconciler.plan.model import DesiredObject, Marker
from reconciler.proof import judge
from reconciler.proof.attribution import Attributed, Attribution, attribution
from reconciler.proof.budget import Budget, Reservation
from reconciler.proof.chain import Exchange, judge_found, named_by, reserve, settle
from reconciler.proof.clock import Clock
from reconciler.proof.judge import TEMPORARY, Intended, Policy, Verdict
from reconciler.proof.model import Link, LinkResult, PathKey, PathProof, Reason
from reconciler.proof.probe import ProbeAnswer, ProbeSender, key_header, nonce
from reconciler.proof.record import intended_json
from reconciler.proof.resting import Rests
from reconciler.proof.together import together

QUARANTINE = "Quarantine"
"""Marker kind of everything temporary on a host."""

NOWHERE = Location("(temporary)", 1, 1)


@dataclass(frozen=True)
class Quarantine:
    """A temporary group of one account, with the key that opens it."""

    group_id: str
    key_id: str
    key: str
    account: str


@dataclass(frozen=True)
class AccountProver:
    """Proves accounts of one host. `derive_key` gives the value for a temporary key's name."""

    host: ShadowHost
    driver: HostDriver
    data_endpoint: str
    sender: ProbeSender
    clock: Clock
    installation: str
    budget: Budget
    derive_key: Callable[[str], str]
    rests: Rests = field(default_factory=Rests)
    """What was waited for in this run."""
    settle_delays_s: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Waits while a new binding is not yet effective on the host."""

    async def open(self, account: ProviderAccount, like: ShadowGroup) -> Quarantine:
        """Make the temporary group, with the settings of `like`, and its key."""
        name = temporary_name(account.name)
        context = NormalizeContext(host=self.host, resolve_endpoint={}, source=NOWHERE)
        group_manifest = ShadowGroup.model_validate(
            {
                "apiVersion": API_VERSION,
                "kind": "ShadowGroup",
                "metadata": {"name": name},
                "spec": {
                    "host": self.host.name,
                    "hostName": f"reconcile-{name}",
                    "platform": like.spec.platform,
                    "settings": like.spec.settings,
                },
            }
        )
        key_manifest = GatewayKey.model_validate(
            {
                "apiVersion": API_VERSION,
                "kind": "GatewayKey",
                "metadata": {"name": name},
                "spec": {"group": name},
            }
        )
        marker = Marker(self.installation, QUARANTINE, account.name, "-")
        group_wanted = self._wanted(group_manifest, context, ShadowGroup.KIND)
        group_wanted = replace(
            group_wanted, key=group_wanted.key._replace(kind=QUARANTINE, name=account.name)
        )
        group = await self.driver.create(group_wanted, marker, Secrets(), Refs())
        value = self.derive_key(name)
        key_wanted = self._wanted(key_manifest, context, GatewayKey.KIND)
        key_wanted = replace(key_wanted, fields={**key_wanted.fields, "group": label(account.name)})
        ids = {(QUARANTINE, account.name): group.object_id}
        key = await self.driver.create(key_wanted, marker, Secrets({"value": value}), Refs(ids))
        return Quarantine(group.object_id, key.object_id, value, account.name)

    def _wanted(
        self, manifest: ShadowGroup | GatewayKey, context: NormalizeContext, kind: str
    ) -> DesiredObject:
        return next(each for each in self.driver.normalize(manifest, context) if each.key.kind == kind)

    async def close(self, quarantine: Quarantine) -> None:
        """Remove the key, then the group, by the ids that `open` got for them. What is gone already is fine."""
        await self.driver.delete("GatewayKey", quarantine.key_id, None)
        await self.driver.delete(QUARANTINE, quarantine.group_id, None)

    async def prove(
        self,
        account: ProviderAccount,
        account_id: str,
        quarantine: Quarantine,
        policies: Mapping[str, Policy],
    ) -> list[PathProof]:
        """Return one proof per model of the account, through its quarantine group; `policies` is by model."""
        intended = [
            self._intended(account, account_id, quarantine, model, policies[model])
            for model in account.spec.models
        ]
        # The first model waits until the binding is effective; the others find it so, and can go together.
        first = await self._prove_model(intended[0], quarantine, self.settle_delays_s)
        served = first.link(Link.SERVED)
        if served is not None and served.reason is Reason.ACCOUNT_MARKED:
            # Each further probe of a marked account would only prolong the mark.
            return [first, *(_not_asked(each, first) for each in intended[1:])]
        rest = [(each, quarantine, self.settle_delays_s[:2]) for each in intended[1:]]
        if self.driver.CAPABILITIES.correlation_header is None:
            # Rows that name no request can be told apart only while one probe at a time uses the key.
            return [first, *[await self._prove_model(*each) for each in rest]]
        return [first, *await together(self._prove_model(*each) for each in rest)]

    def _intended(
        self, account: ProviderAccount, account_id: str, quarantine: Quarantine, model: str, policy: Policy
    ) -> Intended:
        return Intended(
            key=PathKey("", model, account.name),
            revision=0,
            logical_group="",
            public_model=model,
            managed_key=None,
            host=self.host.name,
            group=temporary_name(account.name),
            group_id=quarantine.group_id,
            shadow_model=model,
            gateway_key=temporary_name(account.name),
            key_id=quarantine.key_id,
            accounts={account_id: account.name},
            better=frozenset(),
            in_service=False,
            configured=judge.HOLDS,
            policy=policy,
        )

    async def _prove_model(
        self, intended: Intended, quarantine: Quarantine, delays_s: Sequence[float]
    ) -> PathProof:
        proof = PathProof(
            key=intended.key,
            links=(),
            host=intended.host,
            group=intended.group,
            observed_at=self.clock.now(),
            intended=intended_json(intended),
        )
        correlation: list[str] = []
        finders: list[Attribution] = []
        reserved: list[Reservation] = []

        async def serve() -> tuple[Verdict, Exchange]:
            finders.append(await attribution(self.driver, self.clock, intended.key_id, _nobody_else))
            return await self._served(intended, quarantine, correlation, reserved, delays_s)

        proof = await self._link(proof, Link.SERVED, serve)
        if proof.broken is not None:
            return proof
        correlation_id = correlation[0] if correlation else None
        found: list[Attributed] = []

        async def ask() -> tuple[Verdict, Exchange]:
            found.append(await finders[0].find(correlation_id, intended.policy.deadline_s))
            return judge_found(intended, correlation_id, found[0])

        proof = await self._link(replace(proof, correlation_id=correlation_id), Link.PROVED, ask)
        settle(self.budget, reserved[-1], found)
        return named_by(proof, intended, found)

    async def _served(
        self,
        intended: Intended,
        quarantine: Quarantine,
        correlation: list[str],
        reserved: list[Reservation],
        delays_s: Sequence[float],
    ) -> tuple[Verdict, Exchange]:
        asked = {
            "endpoint": "/v1/chat/completions",
            "model": intended.shadow_model,
            "through": intended.group,
        }
        answer = await self._send(intended, quarantine, reserved)
        if isinstance(answer, Reservation):
            return judge.inconclusive(Reason.OVER_BUDGET, answer.refused), Exchange(asked, {})
        answer, marked = await self._until_served(intended, quarantine, reserved, delays_s, answer)
        found = self.driver.correlation(answer.headers, answer.body)
        exchange = Exchange(asked, {"status": answer.status, "correlationId": found})
        if found is not None:
            correlation.append(found)
        if 200 <= answer.status < 300 and (
            found is not None or self.driver.CAPABILITIES.correlation_header is None
        ):
            return judge.HOLDS, exchange
        return self._not_served(intended, answer, marked), exchange

    async def _until_served(
        self,
        intended: Intended,
        quarantine: Quarantine,
        reserved: list[Reservation],
        delays_s: Sequence[float],
        answer: ProbeAnswer,
    ) -> tuple[ProbeAnswer, str]:
        """Ask again while the host may only not be ready yet; return the last answer, and what marks the account."""
        marked, first = "", self.driver.correlation(answer.headers, answer.body)
        for delay_s in (*delays_s, None):
            if 200 <= answer.status < 300:
                return answer, ""
            marked = await self._marked(intended)
            if marked:
                break
            if delay_s is not None:
                await self.clock.sleep(delay_s)
            elif not await self.rests.waited_out(
                self.clock, self.driver, intended.host, first, intended.accounts
            ):
                break
            again = await self._send(intended, quarantine, reserved)
            if isinstance(again, Reservation):
                break
            answer = again
        if not 200 <= answer.status < 300:
            self.rests.failed(intended.host, intended.accounts)
        return answer, marked

    def _not_served(self, intended: Intended, answer: ProbeAnswer, marked: str) -> Verdict:
        account = intended.key.account
        if 200 <= answer.status < 300:
            return judge.inconclusive(Reason.NO_CORRELATION, "the answer carried no correlation id")
        detail = f"status {answer.status}" if answer.status else answer.error
        if marked:
            return judge.broken(
                Reason.ACCOUNT_MARKED, f"account {account} did not serve ({detail}): {marked}"
            )
        if not answer.status:
            # Nothing was heard of the account, so nothing is held against it.
            return judge.inconclusive(
                Reason.HOST_UNKNOWN, f"the data endpoint of host {self.host.name} did not answer: {detail}"
            )
        return judge.broken(Reason.UPSTREAM_REFUSED, f"account {account} did not serve: {detail}")

    async def _marked(self, intended: Intended) -> str:
        """Return what the host itself has put on the account, in words; empty when it is healthy."""
        (account_id,) = intended.accounts
        marks = await self.driver.marks(account_id)
        return (
            "" if marks.healthy else f"the host shows status {marks.status}, {', '.join(marks.reasons)}"[:300]
        )

    async def _send(
        self, intended: Intended, quarantine: Quarantine, reserved: list[Reservation]
    ) -> ProbeAnswer | Reservation:
        """Send one probe; return the refused reservation when the budget does not allow it."""
        reservation = reserve(self.budget, intended)
        if reservation.refused:
            return reservation
        reserved.append(reservation)
        return await self.sender.chat(
            self.data_endpoint,
            model=intended.shadow_model,
            max_tokens=intended.policy.max_tokens,
            word=nonce(),
            credential=key_header(quarantine.key),
        )

    async def _link(
        self, proof: PathProof, link: Link, ask: Callable[[], Awaitable[tuple[Verdict, Exchange]]]
    ) -> PathProof:
        started = self.clock.monotonic()
        try:
            verdict, exchange = await ask()
        except RemoteError as error:
            verdict, exchange = judge.inconclusive(Reason.USAGE_UNREADABLE, str(error)[:300]), Exchange()
        return proof.with_link(
            LinkResult(
                link=link,
                status=verdict.status,
                reason=verdict.reason,
                message=verdict.message,
                at=self.clock.now(),
                duration_ms=(self.clock.monotonic() - started) * 1000,
                asked=exchange.asked,
                answered=exchange.answered,
            )
        )


async def _nobody_else(since: datetime) -> bool:
    """A temporary key is known to us alone, and asked for one model at a time."""
    return False


def _not_asked(intended: Intended, first: PathProof) -> PathProof:
    """Return the proof of a model that was not asked for, because the first one found the account marked."""
    links = tuple(replace(link, asked={}, answered={}) for link in first.links)
    return replace(first, key=intended.key, links=links, intended=intended_json(intended))


def temporary_name(account: str) -> str:
    """Return the name of an account's temporary group: a DNS label that no manifest may take.

    At most 52 characters, for a host key's name holds it together with the ownership marker.
    """
    return f"quarantine-{account}"[:43].rstrip("-") + "-" + uuid.uuid5(uuid.NAMESPACE_OID, account).hex[:8]


def label(account: str) -> str:
    """Return what an account's temporary group is called in canonical fields and references."""
    return f"{TEMPORARY}{account}"
