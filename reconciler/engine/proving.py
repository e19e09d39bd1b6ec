"""Running proofs: many paths at once within bounds, accounts through quarantine, results into the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

from reconciler.engine.budgeting import StoreBudget
from reconciler.engine.hostwork import HostWork
from reconciler.engine.observe import Observed
from reconciler.engine.policies import Policies
from reconciler.engine.proof_records import latest, leads_as_proved, record_of
from reconciler.engine.workspace import Workspace
from reconciler.errors import RemoteError
from reconciler.manifest import GatewayKey, ProviderAccount, ShadowGroup, ShadowHost
from reconciler.plan.model import ObjectKey, host_plane
from reconciler.proof import judge
from reconciler.proof.accounts import AccountProver, Quarantine
from reconciler.proof.chain import Prover
from reconciler.proof.intend import UnderTest, groups_on_hosts, intend
from reconciler.proof.model import Link, LinkResult, PathKey, PathProof, Reason, Status
from reconciler.proof.resting import Rests
from reconciler.proof.scope import Scope
from reconciler.proof.together import together
from reconciler.state.model import Lease

PATHS_AT_ONCE = 8


@dataclass(frozen=True)
class Proofs:
    """Proves paths and accounts of one manifest set, and remembers what came of it."""

    workspace: Workspace
    lease: Lease
    work: HostWork
    instance: str | None = None
    """The control plane's own id, for evidence."""

    @cached_property
    def policies(self) -> Policies:
        """What proof is demanded."""
        return Policies(self.workspace)

    @property
    def scope(self) -> Scope:
        """Which paths there are."""
        return self.policies.scope

    @cached_property
    def budget(self) -> StoreBudget:
        """What proving may cost."""
        return StoreBudget(self.workspace.store, self.scope, self.workspace.clock.now)

    @cached_property
    def rests(self) -> Rests:
        """What this run waits for on hosts that let accounts rest."""
        return Rests(self.workspace.progress.warn)

    async def paths(
        self,
        wanted: Sequence[PathKey],
        *,
        revision: int,
        document: Mapping[str, object],
        observed: Observed,
        handing_over: bool = False,
    ) -> list[PathProof]:
        """Prove routes by one revision; every result goes to the store.

        `handing_over`: accounts that contract is still to take out of a group may answer for it.
        """
        intended = self._intended(
            wanted, revision=revision, document=document, observed=observed, handing_over=handing_over
        )
        prover = Prover(
            plane=self.workspace.plane,
            drivers=self.workspace.drivers,
            sender=self.workspace.sender,
            clock=self.workspace.clock,
            budget=self.budget,
            installation=self.workspace.keyring.installation,
            rests=self.rests,
        )
        gate = asyncio.Semaphore(PATHS_AT_ONCE)
        done: list[PathProof] = []

        async def one(each: judge.Intended) -> None:
            async with gate:
                proof = await self._probed(prover, each)
            done.append(proof)
            self._keep(proof, f"{len(done)}/{len(wanted)}")

        await together(one(each) for each in intended)
        return sorted(done, key=lambda proof: proof.key)

    def disturbed(self, observed: Observed) -> list[PathKey]:
        """Return the routes' paths that the planes no longer hold as the manifests say, whatever was proved before.

        A foreign account in a group or a group that is gone shows here without a probe, and however fresh a proof is.
        """
        return [each.key for each in self._in_service(observed) if each.configured.status is not Status.HOLDS]

    def outdated(self, observed: Observed) -> list[PathKey]:
        """Return the routes' paths whose proof is of another group, key or model than they lead to now.

        Such a proof says nothing, however fresh it is: the change came into service unproved.
        """
        known = latest(self.workspace)
        return [
            each.key
            for each in self._in_service(observed)
            if (proof := known.get(each.key)) is not None and not leads_as_proved(proof, each)
        ]

    def _in_service(self, observed: Observed) -> list[judge.Intended]:
        snapshot = observed.snapshot
        routes = [path for path in self.scope.everything() if path.route]
        return self._intended(
            routes, revision=snapshot.revision, document=snapshot.document, observed=observed
        )

    def _intended(
        self,
        wanted: Sequence[PathKey],
        *,
        revision: int,
        document: Mapping[str, object],
        observed: Observed,
        handing_over: bool = False,
    ) -> list[judge.Intended]:
        snapshot = observed.snapshot
        under_test = UnderTest(
            revision=revision,
            document=document,
            active_document=snapshot.document,
            manifests=self.workspace.manifests,
            groups=groups_on_hosts(
                self.workspace.manifests, observed.planes, self.workspace.keyring.installation
            ),
            gateway_keys=snapshot.gateway_keys,
            key_ids=self._key_ids(),
            stand_ins={path: self.scope.stand_in(path) for path in wanted},
            handing_over=handing_over,
        )
        policies = {path: self.policies.of_path(path) for path in wanted}
        return list(intend(under_test, list(wanted), policies))

    async def _probed(self, prover: Prover, intended: judge.Intended) -> PathProof:
        """Prove a path as often as its policy asks. All must hold: the first that does not is the answer."""
        proof = await prover.prove(intended)
        for _ in range(intended.policy.probes - 1):
            if not proof.holds:
                break
            self._record(proof)
            proof = await prover.prove(intended)
        return proof

    def _key_ids(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for key in self.workspace.manifests.of(GatewayKey):
            host = self.workspace.manifests.get(ShadowGroup, key.spec.group).spec.host
            object_id = self.work.id(ObjectKey(host_plane(host), GatewayKey.KIND, key.name))
            if key.issued and object_id is not None:
                found[key.name] = object_id
        return found

    def _keep(self, proof: PathProof, count: str) -> None:
        workspace = self.workspace
        self._tell(proof, count)
        workspace.store.put_proof(record_of(proof, workspace.clock.now()), self.lease)
        self._record(proof)

    def _record(self, proof: PathProof) -> None:
        if self.workspace.evidence is not None:
            self.workspace.evidence.write(proof, instance=self.instance)

    def _tell(self, proof: PathProof, count: str) -> None:
        what = f"{proof.key.route or proof.key.account} {proof.key.model}"
        what += f" for {proof.key.key}" if proof.key.key else ""
        broken = proof.broken
        if proof.holds:
            served = f"{proof.host}/{proof.group}/{proof.account} as {proof.model}"
            self.workspace.progress.step(f"[{count}] proved {what}: {served}, {proof.grade.value}")
        elif broken is not None:
            said = f"{broken.link.value} {broken.status.value}: {broken.reason.value}: {broken.message}"
            self.workspace.progress.warn(f"[{count}] {what}: {said}")

    async def account(
        self, account: ProviderAccount, account_id: str, quarantine: Quarantine
    ) -> list[PathProof]:
        """Prove every model of one account through an open quarantine; the clean link follows when it is closed."""
        policies = {
            model: self.policies.of_path(PathKey("", model, account.name)) for model in account.spec.models
        }
        return await self.account_prover(account.spec.host).prove(account, account_id, quarantine, policies)

    def account_prover(self, host_name: str) -> AccountProver:
        """Return the prover of one host's accounts."""
        workspace = self.workspace
        host = workspace.manifests.get(ShadowHost, host_name)
        return AccountProver(
            host=host,
            driver=workspace.drivers[host_name],
            data_endpoint=workspace.endpoint(host.spec.data_endpoint or host.spec.admin_endpoint),
            sender=workspace.sender,
            clock=workspace.clock,
            installation=workspace.keyring.installation,
            budget=self.budget,
            rests=self.rests,
            derive_key=lambda name: workspace.keyring.gateway_key(host_name, name, "quarantine"),
        )

    @asynccontextmanager
    async def quarantine(self, account: ProviderAccount) -> AsyncIterator[Quarantine]:
        """Open an account's quarantine and close it again whatever happens, interruption included."""
        prover = self.account_prover(account.spec.host)
        like = self.workspace.manifests.get(ShadowGroup, account.spec.groups[0])
        opening = asyncio.ensure_future(prover.open(account, like))
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # What is half made could not be taken away: let it be made, and take it away whole.
            with suppress(RemoteError):
                await prover.close(await opening)
            raise
        try:
            yield opened
        finally:
            await asyncio.shield(prover.close(opened))

    async def in_service(self, account: ProviderAccount, account_id: str) -> list[PathProof]:
        """Prove an account that serves already: append its quarantine group as last, and take only that away again."""
        key = ObjectKey(host_plane(account.spec.host), ProviderAccount.KIND, account.name)
        proofs: list[PathProof] = []
        try:
            async with self.quarantine(account) as quarantine:
                before = await self._groups(account, account_id)
                ids = self.work.group_ids(account.spec.host, before)
                await self.work.bind(key, account_id, ids | {quarantine.group_id})
                try:
                    proofs = await self.account(account, account_id, quarantine)
                finally:
                    await asyncio.shield(self._take_away(key, account, account_id))
            clean = judge.judge_bindings(before, await self._groups(account, account_id))
            proofs = [proof.with_link(self._clean_link(clean, before)) for proof in proofs]
        except RemoteError as error:
            proofs = [self._unfinished(account, model, error) for model in account.spec.models]
        return self.finish(proofs)

    async def _take_away(self, key: ObjectKey, account: ProviderAccount, account_id: str) -> None:
        # Read afresh: taking away only our own id must keep what somebody else bound while we probed.
        now = await self._groups(account, account_id)
        await self.work.bind(key, account_id, self.work.group_ids(account.spec.host, now))

    async def _groups(self, account: ProviderAccount, account_id: str) -> tuple[str, ...]:
        """Return the names of the groups that an account serves at this moment, ours for the proof included."""
        seen = await self.workspace.drivers[account.spec.host].get(ProviderAccount.KIND, account_id)
        return tuple(sorted(seen.fields["groups"])) if seen else ()

    def _clean_link(self, verdict: judge.Verdict, before: tuple[str, ...]) -> LinkResult:
        return LinkResult(
            link=Link.CLEAN,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            at=self.workspace.clock.now(),
            answered={"groups": list(before)} if verdict == judge.HOLDS else {},
        )

    def finish(self, proofs: Iterable[PathProof]) -> list[PathProof]:
        """Add the clean link to account proofs whose quarantine is closed, and store them."""
        finished = [self._cleaned(proof) for proof in proofs]
        for proof in finished:
            self._keep(proof, "account")
        return finished

    def _cleaned(self, proof: PathProof) -> PathProof:
        if proof.link(Link.CLEAN) is not None:
            return proof
        return proof.with_link(
            LinkResult(Link.CLEAN, Status.HOLDS, Reason.OK, "", self.workspace.clock.now())
        )

    def _unfinished(self, account: ProviderAccount, model: str, error: RemoteError) -> PathProof:
        now = self.workspace.clock.now()
        link = LinkResult(Link.SERVED, Status.INCONCLUSIVE, Reason.HOST_UNKNOWN, error.message[:300], now)
        left = LinkResult(Link.CLEAN, Status.INCONCLUSIVE, Reason.LEFT_BEHIND, error.message[:300], now)
        key = PathKey("", model, account.name)
        return PathProof(key=key, links=(link, left), host=account.spec.host, observed_at=now)

    async def accounts_in_service(self, names: Iterable[str], observed: Observed) -> list[PathProof]:
        """Prove several accounts in service: on each host one at a time, each host's own troubles apart."""
        by_host: dict[str, list[ProviderAccount]] = {}
        for name in names:
            account = self.workspace.manifests.get(ProviderAccount, name)
            by_host.setdefault(account.spec.host, []).append(account)

        async def one_by_one(accounts: list[ProviderAccount]) -> list[PathProof]:
            return [proof for account in accounts for proof in await self._one_in_service(account, observed)]

        groups = await together(one_by_one(accounts) for accounts in by_host.values())
        return [proof for group in groups for proof in group]

    async def _one_in_service(self, account: ProviderAccount, observed: Observed) -> list[PathProof]:
        key = ObjectKey(host_plane(account.spec.host), ProviderAccount.KIND, account.name)
        account_id = self.work.id(key)
        seen = observed.planes.get(key.plane)
        if seen is None or seen.unknown is not None or account_id is None:
            reason = seen.unknown if seen and seen.unknown else "the account is not on the host"
            missing = RemoteError(reason, where=f"ShadowHost/{account.spec.host}")
            return self.finish(self._unfinished(account, model, missing) for model in account.spec.models)
        return await self.in_service(account, account_id)
