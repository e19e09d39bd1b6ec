"""An adopt annotation that cannot be followed is an error of the manifest, with its place and what to write."""

from __future__ import annotations

from tests.journey.world import World

ADOPTER = """\
apiVersion: routing.reconcile.dev/v1
kind: ShadowGroup
metadata:
  name: taken-over
  annotations:
    reconcile.dev/adopt: {adopt}
spec:
  host: west
"""


def test_a_wrong_adopt_value_is_an_error_with_its_place_and_changes_nothing(applied: World) -> None:
    file = applied.manifests / "adopter.yaml"
    file.write_text(ADOPTER.format(adopt="defalt"))
    try:
        planned = applied.run("plan", str(applied.manifests), code=1)
        done = applied.run("apply", str(applied.manifests), code=1)
    finally:
        file.unlink()

    default = applied.host("west").group("default")["id"]
    for told in (planned, done):
        assert f"{file}:6:26: ShadowGroup/taken-over: reconcile.dev/adopt names 'defalt'" in told.stderr
        assert f"it has {default} ('default')" in told.stderr
        assert "nothing was changed" in told.stderr
    assert "Nothing is planned for:" in planned.stdout
    assert applied.apply()["changed"] is False
