"""What the operations work with: the parts of the gateway, handed in once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from reconciler.gateway.contract import LoadedRevision, RevisionInfo, RuntimePlane
from reconciler.gateway.documents import Prepared, decode, prepare
from reconciler.gateway.endpoints import EndpointPolicy
from reconciler.gateway.keys import Keys
from reconciler.gateway.refusals import Clash, Invalid, Missing
from reconciler.gateway.replica import Replica
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.storage import Fence, Storage
from reconciler.gateway.threads import Threads
from reconciler.gateway.times import Now
from reconciler.gateway.tokens import SignedProbeTokens

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The parts. Storage blocks, so operations reach it through `run`."""

    storage: Storage
    threads: Threads
    keys: Keys
    revisions: Revisions
    replica: Replica
    tokens: SignedProbeTokens
    runtime: RuntimePlane
    policy: EndpointPolicy
    now: Now

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in a thread."""
        return await self.threads.run(work, *args, **kwargs)

    def active(self) -> LoadedRevision:
        """Return what is served. Raises Clash (`revision-not-loaded`) in the moments before anything is."""
        if self.revisions.active is None:
            raise _not_loaded("the active revision")
        return self.revisions.active

    async def loaded(self, revision: int | None) -> LoadedRevision:
        """Return a staged or the active revision; None: the active one.

        Raises Missing (`unknown-revision`) when it is neither, Clash (`revision-not-loaded`) when it is not here yet.
        """
        if revision is None:
            return self.active()
        if found := self.revisions.staged(revision):
            return found
        if revision not in {info.revision for info in await self.run(self.storage.revisions.live)}:
            raise Missing("unknown-revision", f"revision {revision} is neither active nor staged")
        await self.revisions.refresh()
        if found := self.revisions.staged(revision):
            return found
        raise _not_loaded(f"revision {revision}")

    async def stage(
        self, prepared: Prepared, *, base: int, comment: str, fence: Fence | None, reuse: bool = False
    ) -> RevisionInfo:
        """Stage, and have it loaded here. Raises what `RevisionStore.stage` does, Invalid for a forbidden endpoint."""
        with self.revisions.expecting(prepared):
            if problems := self.policy.problems(prepared.configuration.shadow_hosts):
                raise Invalid(
                    "invalid-configuration",
                    "the configuration names endpoints that are not allowed",
                    problems,
                )
            info = await self.run(
                self.storage.revisions.stage, prepared, base=base, comment=comment, fence=fence, reuse=reuse
            )
            await self.revisions.refresh()
        return info


def prepare_text(text: bytes | memoryview) -> Prepared:
    """Decode and prepare a document. Blocks. Raises Invalid."""
    return prepare(decode(text))


def _not_loaded(what: str) -> Clash:
    return Clash("revision-not-loaded", f"{what} is not loaded by this replica yet", retry_after_s=1)
