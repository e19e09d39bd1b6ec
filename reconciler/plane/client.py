"""The control API's client: every call the engine makes towards the routing control plane.

Source of the contract: `docs/api/control-plane.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.errors import Conflict, LostAnswer, Malformed, NotFound
from reconciler.plane.document import Document
from reconciler.remote.transport import Refusal, Transport

REPEATS = 3
"""Tries for a write that is idempotent by its content, when an answer was lost."""
_PAGES, _PAGE = 10, 500


class ProblemDetails:
    """How the control plane words its errors. Source: RFC 9457, with our `reason` and `problems` members."""

    def refusal(self, status: int, body: Any) -> Refusal:
        """Read an `application/problem+json` body; anything else has no reason."""
        if not isinstance(body, dict):
            return Refusal(final=False, undone=status == 503)
        problems = body.get("problems") or []
        detail = "; ".join([str(body.get("detail") or body.get("title") or ""), *map(str, problems)])
        reason = str(body.get("reason") or "")
        return Refusal(message=detail, reason=reason, undone=reason == "revision-not-loaded", final=True)


@dataclass(frozen=True)
class Replica:
    """One gateway process: what it serves, and what is still under way on which revision."""

    id: str
    active_revision: int
    in_flight: Mapping[int, int]


@dataclass(frozen=True)
class StagedRevision:
    """A revision that may be promoted yet; `comment` is what its maker said of it."""

    revision: int
    comment: str = ""


@dataclass(frozen=True)
class Snapshot:
    """The control plane in one answer."""

    revision: int
    document: Document
    gateway_keys: frozenset[tuple[str, str]]
    """(name, version) of every stored value."""
    managed_keys: frozenset[tuple[str, str]]
    staged: tuple[StagedRevision, ...]
    replicas: tuple[Replica, ...]
    instance: str


@dataclass(frozen=True)
class ProbeToken:
    """A minted probe token. The token itself is a credential: it never reaches a repr."""

    id: str
    token: str = field(repr=False)


class ControlPlaneClient:
    """One control plane. Raises the RemoteError branch that fits; `where` is the ControlPlane's name."""

    def __init__(self, http: Transport, *, data_endpoint: str, fence: str | None = None) -> None:
        self._http = http
        self.data_endpoint = data_endpoint
        self._fence = {"X-Reconcile-Fence": fence} if fence else {}

    def fenced(self, fence: str) -> ControlPlaneClient:
        """Return a client whose writes carry a fencing token."""
        return ControlPlaneClient(self._http, data_endpoint=self.data_endpoint, fence=fence)

    async def close(self) -> None:
        await self._http.close()

    async def snapshot(self) -> Snapshot:
        """Read everything, with the active revision."""
        body = await self._get("/api/v1/snapshot")
        try:
            return Snapshot(
                revision=int(body["revision"]),
                document=body["configuration"],
                gateway_keys=frozenset((key["name"], key["version"]) for key in body["gateway_keys"]),
                managed_keys=frozenset((key["name"], key["version"]) for key in body["managed_keys"]),
                staged=tuple(
                    StagedRevision(int(info["revision"]), str(info["comment"])) for info in body["staged"]
                ),
                replicas=tuple(_replica(replica) for replica in body["replicas"]),
                instance=str(body["instance"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed(f"the snapshot lacks or garbles {error}", where=self._http.where) from error

    async def retired(self, count: int) -> list[int]:
        """Return the newest revisions that were active before, newest first; at most `count`."""
        if count < 1:
            return []
        body = await self._get("/api/v1/revisions", {"state": "retired", "limit": count})
        return [int(info["revision"]) for info in body["items"]]

    async def document(self, revision: int) -> Document | None:
        """Return the configuration of any revision; None when it is no longer kept."""
        try:
            body = await self._get(f"/api/v1/revisions/{revision}")
        except NotFound:
            return None
        document: Document = body["configuration"]
        return document

    async def put_gateway_key(self, name: str, version: str, value: str) -> None:
        """Store one value of a gateway key; repeating it is harmless."""
        await self._write(
            "POST", f"/api/v1/gateway-keys/{name}/versions", {"version": version, "value": value}
        )

    async def drop_gateway_key(self, name: str, version: str) -> None:
        """Forget one value; a value that a live revision still uses stays."""
        await self._drop(f"/api/v1/gateway-keys/{name}/versions/{version}")

    async def put_managed_key(self, name: str, version: str, value: str) -> None:
        """Store one value of a consumer's key (the gateway keeps a keyed hash)."""
        await self._write(
            "POST", f"/api/v1/managed-keys/{name}/versions", {"version": version, "value": value}
        )

    async def drop_managed_key(self, name: str, version: str) -> None:
        """Forget one value; a value that a live revision still uses stays."""
        await self._drop(f"/api/v1/managed-keys/{name}/versions/{version}")

    async def stage(self, document: Document, *, base: int, comment: str) -> int:
        """Stage a whole document on `base`; return its revision number. Raises Conflict when base is not active."""
        body = await self._write(
            "POST", "/api/v1/revisions", {"base": base, "configuration": document, "comment": comment}
        )
        return int(body["revision"])

    async def promote(self, revision: int) -> None:
        """Make a staged revision the active one. Raises Conflict when its base is no longer active."""
        await self._write("POST", f"/api/v1/revisions/{revision}/promote", {})

    async def drop(self, revision: int) -> None:
        """Drop a staged revision; one that is gone already is fine."""
        await self._drop(f"/api/v1/revisions/{revision}")

    async def resolve(
        self,
        *,
        managed_key: str,
        public_model: str,
        session: str,
        request_id: str,
        revision: int,
        unavailable: Iterable[str] = (),
        namespace: str | None = None,
    ) -> Mapping[str, Any]:
        """Ask for a decision without a request. Raises NotFound for a revision that is neither staged nor active."""
        question = {
            "managed_key": managed_key,
            "public_model": public_model,
            "session": session,
            "request_id": request_id,
            "revision": revision,
            "unavailable": sorted(unavailable),
            "namespace": namespace,
        }
        answer: Mapping[str, Any] = await self._repeat("POST", "/api/v1/resolve", question)
        return answer

    async def mint(
        self,
        *,
        managed_key: str,
        revision: int,
        routes: Iterable[str],
        namespace: str,
        requests: int = 1,
        unavailable: Iterable[str] = (),
        faults: Mapping[str, str] | None = None,
        expires_in_seconds: int = 120,
        **drill: Any,
    ) -> ProbeToken:
        """Mint a probe token for at most `requests` requests by `revision` in a runtime namespace of its own."""
        body = await self._repeat(
            "POST",
            "/api/v1/probe-tokens",
            {
                "managed_key": managed_key,
                "revision": revision,
                "routes": sorted(routes),
                "requests": requests,
                "namespace": namespace,
                "unavailable": sorted(unavailable),
                "faults": dict(faults or {}),
                "expires_in_seconds": expires_in_seconds,
                **drill,
            },
        )
        return ProbeToken(id=str(body["id"]), token=str(body["token"]))

    async def decision(self, request_id: str) -> Mapping[str, Any] | None:
        """Return the decision row of one request, or None."""
        body = await self._get("/api/v1/decisions", {"request_id": request_id})
        items = body["items"]
        return items[0] if items else None

    async def rows(self, log: str, **filters: Any) -> list[Mapping[str, Any]]:
        """Return rows of `decisions`, `sticky-audit` or `failover-events`, all pages, newest first."""
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self._get(f"/api/v1/{log}", {**filters, **({"cursor": cursor} if cursor else {})})
            found += page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found

    async def others_used(self, gateway_key: str, *, since: datetime, asked: frozenset[str]) -> bool:
        """True when a request other than those `asked` may have used a gateway key since then.

        An attempt that failed over counts, for its host may have billed it. Of a log of more than 5,000 rows
        it is taken for granted.
        """
        cursor: str | None = None
        for _ in range(_PAGES):
            params: dict[str, str | int] = {
                "since": since.isoformat(),
                "limit": _PAGE,
                **({"cursor": cursor} if cursor else {}),
            }
            page = await self._get("/api/v1/decisions", params)
            if any(
                _may_have_used(row, gateway_key) for row in page["items"] if row["request_id"] not in asked
            ):
                return True
            if (cursor := page.get("next_cursor")) is None:
                return False
        return True

    async def route_states(self, namespace: str | None = None) -> dict[str, Mapping[str, Any]]:
        """Return the runtime state of every route by name."""
        body = await self._get("/api/v1/runtime/routes", {"namespace": namespace} if namespace else None)
        return {item["route_id"]: item for item in body["items"]}

    async def namespaces(self) -> list[str]:
        """Return the names of the probes' namespaces that hold anything."""
        return [str(item["namespace"]) for item in (await self._get("/api/v1/runtime/namespaces"))["items"]]

    async def drop_namespace(self, namespace: str) -> None:
        """Remove a runtime namespace and everything in it."""
        await self._drop(f"/api/v1/runtime/namespaces/{namespace}")

    async def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        return (await self._http.request("GET", path, params=params)).body

    async def _write(self, method: str, path: str, body: Any) -> Any:
        # Staging is the one write that is not idempotent: after a lost answer a second staged revision would be made,
        # while the first one expires by itself.
        if path == "/api/v1/revisions":
            return (await self._http.request(method, path, body=body, headers=self._fence)).body
        return await self._repeat(method, path, body)

    async def _repeat(self, method: str, path: str, body: Any) -> Any:
        for _ in range(REPEATS - 1):
            try:
                return (await self._http.request(method, path, body=body, headers=self._fence)).body
            except LostAnswer:
                continue
        return (await self._http.request(method, path, body=body, headers=self._fence)).body

    async def _drop(self, path: str) -> None:
        try:
            await self._repeat("DELETE", path, None)
        except NotFound:
            return
        except Conflict as error:
            # Still referenced by a live revision: it goes in a later run. A stale fence is another matter.
            if error.reason == "stale-fence":
                raise


def _may_have_used(row: Mapping[str, Any], gateway_key: str) -> bool:
    return row["gateway_key_source"] == gateway_key or len(row["attempts"]) > 1


def _replica(body: Mapping[str, Any]) -> Replica:
    return Replica(
        id=str(body["id"]),
        active_revision=int(body["active_revision"]),
        in_flight={int(revision): int(count) for revision, count in body["in_flight"].items()},
    )
