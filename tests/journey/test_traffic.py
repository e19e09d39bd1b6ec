"""A change whose proof fails never reaches users: the OpenAI SDK, sending all the while, sees nothing of it."""

from __future__ import annotations

import threading

import httpx
import openai

from tests.journey.world import World
from tests.support.plain_http import NO_TLS


class Users:
    """Sends chat completions without a pause until told to stop; counts answers and errors."""

    def __init__(self, world: World) -> None:
        key = world.environ["RECONCILE_SECRET_KEY_CHAT"]
        self._client = openai.OpenAI(
            api_key=key, base_url=f"{world.url('gateway')}/v1", max_retries=0, timeout=20
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.answers = 0
        self.errors: list[str] = []

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _send(self) -> None:
        while not self._stop.is_set():
            for model in ("smart", "fast"):
                try:
                    answer = self._client.chat.completions.create(
                        model=model,
                        messages=[{"role": "user", "content": f"hello {self.answers}"}],
                        max_tokens=5,
                    )
                    assert answer.model == model
                    self.answers += 1
                except openai.OpenAIError as error:
                    self.errors.append(repr(error))


def test_a_change_that_is_not_proved_is_never_promoted_and_users_see_nothing(empty: World) -> None:
    empty.apply()
    before = empty.snapshot()
    (empty.manifests / "broken.yaml").write_text(BROKEN)
    empty.environ["RECONCILE_SECRET_UPSTREAM_REFUSED"] = "canary-key-that-the-upstream-refuses"
    with Users(empty) as users:
        report = empty.apply(code=3)

    after = empty.snapshot()
    assert users.errors == []
    assert users.answers > 10
    assert after["configuration"] == before["configuration"]
    assert after["revision"] == before["revision"]
    held = {(each["kind"], each["name"]) for each in report["heldBack"]}
    assert ("Route", "chat-broken") in held
    assert {row["route_id"] for row in decisions(empty)} == {"chat-east", "chat-west"}


def decisions(world: World) -> list[dict[str, object]]:
    token = world.environ["RECONCILE_SECRET_GATEWAY_ADMIN"]
    answer = httpx.get(
        f"{world.url('gateway')}/api/v1/decisions?limit=1000",
        headers={"authorization": f"Bearer {token}"},
        verify=NO_TLS,
    )
    rows = answer.raise_for_status().json()["items"]
    return [row for row in rows if not row["probe"]]


# A better route than all others, whose only account has a credential that its upstream does not know.
BROKEN = """
apiVersion: routing.reconcile.dev/v1
kind: ShadowGroup
metadata: {name: east-broken}
spec: {host: east}
---
apiVersion: routing.reconcile.dev/v1
kind: ProviderAccount
metadata: {name: east-broken}
spec:
  host: east
  groups: [east-broken]
  baseUrl: embedded://upstream-gamma/v1
  credential: {valueFrom: {env: RECONCILE_SECRET_UPSTREAM_REFUSED}}
  models: [gpt-4.1]
---
apiVersion: routing.reconcile.dev/v1
kind: GatewayKey
metadata: {name: east-broken}
spec: {group: east-broken}
---
apiVersion: routing.reconcile.dev/v1
kind: Route
metadata: {name: chat-broken}
spec: {logicalGroup: chat, shadowGroup: east-broken, gatewayKey: east-broken, priority: 1}
---
apiVersion: routing.reconcile.dev/v1
kind: ModelBinding
metadata: {name: chat-broken}
spec:
  logicalGroup: chat
  publicModel: broken
  routes: [{route: chat-broken, shadowModel: gpt-4.1}]
"""
