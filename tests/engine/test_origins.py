"""A secret stays bound to the origins it was first used with, whatever name or spelling a manifest gives it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine.origins import bindings, origin_uses, require_known_origins, source_word, uses
from reconciler.errors import Refused
from reconciler.manifest import ManifestSet, ValueFrom
from reconciler.manifest.check import load_and_check
from reconciler.plan.guard import Allowances, check, origin_changes
from reconciler.plan.model import Plan

HOUSE = """
apiVersion: routing.reconcile.dev/v1
kind: ControlPlane
metadata: {{name: gateway}}
spec: {{endpoint: "https://gateway.example", adminToken: {{valueFrom: {{env: RECONCILE_SECRET_GATEWAY}}}}}}
---
apiVersion: routing.reconcile.dev/v1
kind: ShadowHost
metadata: {{name: east}}
spec:
  driver: sub2api
  adminEndpoint: https://east.example
  dataEndpoint: https://data.east.example
  adminCredential: {{valueFrom: {{env: RECONCILE_SECRET_EAST}}}}
---
apiVersion: routing.reconcile.dev/v1
kind: ShadowGroup
metadata: {{name: chat}}
spec: {{host: east}}
---
apiVersion: routing.reconcile.dev/v1
kind: ProviderAccount
metadata: {{name: {name}}}
spec:
  host: east
  groups: [chat]
  baseUrl: {url}
  models: [m]
  credential: {{valueFrom: {source}}}
---
apiVersion: routing.reconcile.dev/v1
kind: GatewayKey
metadata: {{name: chat}}
spec: {{group: chat, valueFrom: {{file: /run/secrets/host-key}}}}
---
apiVersion: routing.reconcile.dev/v1
kind: LogicalGroup
metadata: {{name: products}}
spec: {{controlPlane: gateway}}
---
apiVersion: routing.reconcile.dev/v1
kind: ManagedKey
metadata: {{name: app}}
spec: {{logicalGroups: [products], valueFrom: {{env: RECONCILE_SECRET_APP}}}}
"""
ENV = "{env: RECONCILE_SECRET_ALPHA}"
CREDENTIAL = ("ProviderAccount", "alpha", "spec.credential")


def house(
    tmp_path: Any, *, name: str = "alpha", url: str = "https://api.example/v1", source: str = ENV
) -> ManifestSet:
    file = tmp_path / f"{name}.yaml"
    file.write_text(HOUSE.format(name=name, url=url, source=source))
    found, problems = load_and_check([str(file)], stdin=None)
    assert [each for each in problems if each.severity == "error"] == []
    return found


def bound(manifests: ManifestSet, fingerprints: Any = None) -> dict[str, frozenset[str]]:
    return bindings(uses(manifests), fingerprints or {})


def refused(manifests: ManifestSet, known: Any, fingerprints: Any = None) -> list[str]:
    return [each.message for each in origin_changes(origin_uses(uses(manifests), known, fingerprints))]


def test_every_secret_is_listed_with_each_endpoint_that_it_is_sent_to(tmp_path: Any) -> None:
    found = {(*use.reference[::2], use.endpoint) for use in uses(house(tmp_path))}

    assert found == {
        ("ControlPlane", "spec.adminToken", "https://gateway.example"),
        ("ShadowHost", "spec.adminCredential", "https://east.example"),
        ("ProviderAccount", "spec.credential", "https://api.example/v1"),
        ("ProviderAccount", "spec.credential", "https://east.example"),
        ("GatewayKey", "spec.valueFrom", "https://gateway.example"),
        ("GatewayKey", "spec.valueFrom", "https://data.east.example"),
        ("ManagedKey", "spec.valueFrom", "https://gateway.example"),
    }


def test_a_secret_used_for_the_first_time_may_go_anywhere(tmp_path: Any) -> None:
    assert refused(house(tmp_path), {}) == []


def test_the_same_manifests_again_pass(tmp_path: Any) -> None:
    assert refused(house(tmp_path), bound(house(tmp_path))) == []


@pytest.mark.parametrize(
    "url", ["http://api.example/v1", "https://evil.example/v1", "https://api.example:8443/v1"]
)
def test_a_new_name_does_not_send_a_known_secret_to_a_new_origin(tmp_path: Any, url: str) -> None:
    known = bound(house(tmp_path))

    (message,) = refused(house(tmp_path, name="beta", url=url), known)

    assert message.startswith(
        "the secret of ProviderAccount/beta spec.credential (environment variable RECONCILE_SECRET_ALPHA) has been "
        "used with https://api.example:443, https://east.example:443 only, and would now go to "
    )


def test_a_secret_of_another_kind_is_known_again_too(tmp_path: Any) -> None:
    known = bound(house(tmp_path))
    stolen = house(tmp_path, name="beta", source="{env: RECONCILE_SECRET_GATEWAY}")

    assert len(refused(stolen, known)) == 2


@pytest.mark.parametrize("path", ["/run/secrets//alpha", "/run/secrets/./alpha", "/run/secrets/x/../alpha"])
def test_another_spelling_of_a_path_is_the_same_secret(path: str) -> None:
    assert source_word(ValueFrom(file=path)) == source_word(ValueFrom(file="/run/secrets/alpha"))


def test_env_file_and_command_of_one_name_are_different_sources() -> None:
    sources = (
        ValueFrom(env="A"),
        ValueFrom(file="A"),
        ValueFrom(command=["A"]),
        ValueFrom(command=["A", "b"]),
    )

    assert len({source_word(each) for each in sources}) == 4


def test_a_known_value_under_another_source_is_known_again_when_it_is_read(tmp_path: Any) -> None:
    known = bound(house(tmp_path), {CREDENTIAL: "0123456789ab"})
    alias = house(tmp_path, name="beta", url="https://evil.example", source="{env: RECONCILE_SECRET_COPY}")

    assert refused(alias, known) == []
    assert len(refused(alias, known, {("ProviderAccount", "beta", "spec.credential"): "0123456789ab"})) == 1


def test_a_rotated_value_of_a_known_source_stays_bound(tmp_path: Any) -> None:
    known = bound(house(tmp_path), {CREDENTIAL: "0123456789ab"})
    moved = house(tmp_path, url="https://evil.example")

    assert len(refused(moved, known, {CREDENTIAL: "ba9876543210"})) == 1


def test_the_guard_names_its_flag_and_obeys_it(tmp_path: Any) -> None:
    moved = origin_uses(uses(house(tmp_path, url="https://evil.example")), bound(house(tmp_path)))

    assert [each.flag for each in check(Plan(), origins=moved)] == ["--allow-origin-change"]
    assert check(Plan(), Allowances(origin_change=True), origins=moved) == []
    with pytest.raises(Refused, match=r"would now go to https://evil\.example:443"):
        require_known_origins(moved)
