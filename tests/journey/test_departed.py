"""Manifests that are gone: what happens to their status."""

from __future__ import annotations

from tests.journey.world import World, condition, items

SPARE = """\
apiVersion: routing.reconcile.dev/v1
kind: ShadowGroup
metadata:
  name: spare
{annotations}
spec:
  host: west
---
apiVersion: routing.reconcile.dev/v1
kind: Acceptance
metadata:
  name: spare
spec:
  targets:
    - kind: Route
      name: chat-west
"""


def known(world: World) -> dict[str, object]:
    return items(world.json("get"))


def test_the_status_of_a_removed_manifest_goes_with_its_last_object(applied: World) -> None:
    spare = applied.manifests / "spare.yaml"
    spare.write_text(SPARE.format(annotations="  labels: {}"))
    applied.apply()
    assert {"ShadowGroup/spare", "Acceptance/spare"} <= known(applied).keys()

    spare.unlink()
    applied.apply()

    assert "spare" not in [each["name"] for each in applied.host("west").rows("/groups")]
    assert not {"ShadowGroup/spare", "Acceptance/spare"} & known(applied).keys()
    assert (
        "nothing is known of ShadowGroup/spare" in applied.run("describe", "ShadowGroup/spare", code=1).stderr
    )


def test_the_status_says_why_something_of_a_removed_manifest_still_stands(applied: World) -> None:
    spare = applied.manifests / "spare.yaml"
    spare.write_text(SPARE.format(annotations='  annotations: {reconcile.dev/prune: "false"}'))
    applied.apply()

    spare.unlink()
    report = applied.apply()

    left = known(applied)["ShadowGroup/spare"]
    ready = condition(left, "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "Removed")
    assert "no manifest names it any more; it stays, for it was marked" in ready["message"]
    assert "Acceptance/spare" not in known(applied)
    assert "ShadowGroup/spare" not in items(report)
