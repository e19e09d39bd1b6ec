"""What the last full reading of the host found: a create need not look for what was not there a moment ago."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.plan.model import ObservedObject


class Survey:
    """Names (of keys: markers) that may be taken on the host.

    A driver makes its creates under the lease, after a full reading; so what the reading did not find can only be
    there because this very driver tried to make it, or because somebody else made it since. The first is remembered
    here; the second the host refuses itself, where names or values are unique.
    """

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] | None = None

    def read(self, found: Iterable[ObservedObject]) -> None:
        """Take note of everything that stands on the host now."""
        self._taken = set()
        for each in found:
            kind = "ShadowGroup" if each.kind == "Quarantine" else each.kind
            self._taken.add((kind, each.host_name))
            if each.marker is not None:
                self._taken.add((kind, str(each.marker)))

    def is_free(self, kind: str, name: str) -> bool:
        """True once per name that the last reading did not find; False for ever after, and without a reading."""
        if self._taken is None or (kind, name) in self._taken:
            return False
        self._taken.add((kind, name))
        return True
