"""Replaying a transcript of a real host: fill the placeholders of each request, match those of each answer.

The form of a transcript is described beside it, in tests/hosts/transcripts/README.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

RUN_TIME = frozenset({"last_used_at", "last_active_at", "openai_responses_supported", "current_concurrency"})
"""Fields that differ from run to run; not compared."""

_PLACEHOLDER = re.compile(r"<(id|uuid|secret):([A-Za-z0-9_.]+)>|<(admin_email|admin_password|upstream)>")
_ANY = {
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)",
    "<uuid>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<secret>": r".+",
    "<any>": r".*",
}


class Replay:
    """One run of a transcript against a client. `wait` lets time pass, in seconds."""

    def __init__(
        self, client: httpx.AsyncClient, known: dict[str, str], wait: Callable[[float], Awaitable[None]]
    ) -> None:
        self._client = client
        self._wait = wait
        self._saved: dict[str, Any] = dict(known)

    async def step(self, step: dict[str, Any]) -> list[str]:
        """Send one step; return what differs, one sentence each."""
        await self._wait(step.get("wait_s", 0.0))
        tries = 40 if step.get("eventually") else 1
        differences: list[str] = []
        for _ in range(tries):
            response = await self._send(step["request"])
            self._save(step.get("save", {}), response)
            differences = list(self._compare(step["response"], response))
            if not differences:
                break
            await self._wait(0.25 if tries > 1 else 0.0)
        return [f"{step['name']}: {difference}" for difference in differences]

    async def _send(self, request: dict[str, Any]) -> httpx.Response:
        headers = (
            {"user-agent": "transcript/1"} | request.get("headers", {}) | self._credentials(request["auth"])
        )
        if "raw" in request:
            content: bytes | None = request["raw"].encode()
        else:
            content = json.dumps(self._filled(request["json"])).encode() if "json" in request else None
        if content is not None:
            headers["content-type"] = "application/json"
        return await self._client.request(
            request["method"],
            self._filled(request["path"]),
            params={k: str(self._filled(v)) for k, v in request.get("query", {}).items()},
            headers=headers,
            content=content,
        )

    def _credentials(self, auth: str) -> dict[str, str]:
        kind, _, alias = auth.partition(":")
        if kind == "none":
            return {}
        if kind == "admin":
            return {"x-api-key": self._saved["secret.admin_key"]}
        return {"Authorization": f"Bearer {self._saved[f'secret.{alias}']}"}

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self._filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if not isinstance(value, str):
            return value
        if (whole := _PLACEHOLDER.fullmatch(value)) and whole[1] == "id":
            return self._saved[whole[2]]
        return _PLACEHOLDER.sub(lambda found: str(self._lookup(found)), value)

    def _lookup(self, found: re.Match[str]) -> Any:
        _, alias, name = found.groups()
        if name:
            return self._saved[name]
        return self._saved[alias]

    def _save(self, wanted: dict[str, str], response: httpx.Response) -> None:
        for alias, where in wanted.items():
            if where.startswith("header:"):
                self._saved[alias] = response.headers.get(where.removeprefix("header:"))
                continue
            value: Any = _json(response)
            for part in where.split("."):
                value = (
                    value[int(part)]
                    if isinstance(value, list) and len(value) > int(part)
                    else _get(value, part)
                )
            self._saved[alias] = value

    def _compare(self, expected: dict[str, Any], response: httpx.Response) -> Any:
        if response.status_code != expected["status"]:
            yield f"status {response.status_code}, expected {expected['status']}: {response.text[:300]}"
            return
        for name, value in expected.get("headers", {}).items():
            shown = response.headers.get(name)
            if name == "content-type":
                shown = (shown or "").partition(";")[0]
            yield from self._match(value, shown, f"header {name}", partial=False)
        if "text" in expected:
            yield from self._match(expected["text"], response.text, "text", partial=False)
        elif "json" in expected:
            yield from self._match(
                expected["json"], _json(response), "", partial=expected.get("partial", False)
            )

    def _match(self, expected: Any, actual: Any, where: str, *, partial: bool) -> Any:
        if isinstance(expected, dict) and isinstance(actual, dict):
            yield from self._match_objects(expected, actual, where, partial=partial)
        elif isinstance(expected, list) and isinstance(actual, list):
            if len(expected) != len(actual):
                yield f"{where}: {len(actual)} items, expected {len(expected)}"
            for place, (one, other) in enumerate(zip(expected, actual, strict=False)):
                yield from self._match(one, other, f"{where}.{place}", partial=False)
        elif not self._same(expected, actual):
            yield f"{where}: {actual!r}, expected {expected!r}"

    def _match_objects(
        self, expected: dict[str, Any], actual: dict[str, Any], where: str, *, partial: bool
    ) -> Any:
        names = set(expected) - RUN_TIME
        for name in sorted(names - set(actual)):
            yield f"{where}.{name}: absent, expected {expected[name]!r}"
        in_data = partial and where == ".data"
        for name in sorted(set(actual) - names - RUN_TIME):
            if not in_data:
                yield f"{where}.{name}: {actual[name]!r}, expected to be absent"
        for name in sorted(names & set(actual)):
            yield from self._match(expected[name], actual[name], f"{where}.{name}", partial=partial)

    def _same(self, expected: Any, actual: Any) -> bool:
        if not isinstance(expected, str):
            return bool(isinstance(expected, bool) == isinstance(actual, bool) and expected == actual)
        if expected == "<int>":
            return str(actual).isdigit()
        if (whole := _PLACEHOLDER.fullmatch(expected)) is not None:
            return bool(self._lookup(whole) == actual)
        if not isinstance(actual, str):
            return False
        filled = self._filled(expected)
        pattern = re.escape(filled)
        for placeholder, meaning in _ANY.items():
            pattern = pattern.replace(re.escape(placeholder), f"(?:{meaning})")
        return re.fullmatch(pattern, actual, re.DOTALL) is not None


def _get(value: Any, part: str) -> Any:
    return value.get(part) if isinstance(value, dict) else None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
