"""The hidden request that the host sends after an account was written: does the upstream know `/v1/responses`?

Source: sub2api v0.1.179, `internal/service/openai_apikey_responses_probe.go`.
"""

from __future__ import annotations

import json

from reconciler.embedded.admin.account_fields import model_mapping
from reconciler.embedded.database import Row
from reconciler.embedded.dataplane.forward import endpoint_url, upstream_headers
from reconciler.embedded.state import Host
from reconciler.embedded.transport import UpstreamBroken, UpstreamUnreachable

_TIMEOUT_S = 15.0
_DEFAULT_MODEL = "gpt-5.4"


def schedule(host: Host, account: Row) -> None:
    """Ask in the background; nothing waits for the answer."""
    wanted = (
        account["platform"] == "openai"
        and account["type"] == "apikey"
        and account["credentials"].get("api_key")
    )
    if wanted and host.settings.probe_responses:
        host.later(lambda: _probe(host, account["id"]))


async def _probe(host: Host, account_id: int) -> None:
    account = host.accounts.get(account_id)
    if account is None:
        return
    mapping = model_mapping(account)
    targets = sorted(target for target in mapping.values() if not target.endswith("*"))
    body = {
        "model": targets[0] if targets else _DEFAULT_MODEL, "stream": False, "max_output_tokens": 64,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Call the probe tool."}]}],
        "tool_choice": "required",
        "tools": [{"type": "function", "name": "probe", "parameters": {"type": "object", "properties": {}}}],
    }  # fmt: skip
    url = endpoint_url(account, "/responses")
    headers = upstream_headers(account, {}, stream=False)
    try:
        answer = await host.upstream.post(url, headers, json.dumps(body).encode(), _TIMEOUT_S)
        raw = await answer.read()
        await answer.close()
    except (UpstreamUnreachable, UpstreamBroken):
        return  # unknown stays unknown
    if host.accounts.get(account_id) is account:
        account["extra"]["openai_responses_supported"] = _supported(answer.status, raw)
        host.touch(account)
        host.accounts.save(account)


def _supported(status: int, raw: bytes) -> bool:
    if status in (404, 405):
        return False
    if not 200 <= status < 300:
        return True
    try:
        output = json.loads(raw).get("output") or []
    except (ValueError, AttributeError):
        return False
    return any(isinstance(item, dict) and item.get("type") == "function_call" for item in output)
