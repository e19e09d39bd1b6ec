"""The drivers there are, by the word that a ShadowHost's `spec.driver` uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.errors import InvalidInput
from reconciler.hosts.contract import HostDriver
from reconciler.hosts.sub2api import Sub2apiDriver
from reconciler.manifest import ShadowHost

DRIVERS: dict[str, type[Sub2apiDriver]] = {Sub2apiDriver.NAME: Sub2apiDriver}


def driver_class(name: str) -> type[Sub2apiDriver]:
    """Return the driver of that name. Raises InvalidInput, naming the ones there are."""
    try:
        return DRIVERS[name]
    except KeyError:
        known = ", ".join(sorted(DRIVERS))
        raise InvalidInput(f"unknown host driver {name!r}", hint=f"Drivers: {known}.") from None


def driver_schemas() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return driver name -> manifest kind -> JSON Schema of its `spec.settings`."""
    return {name: driver.SETTINGS_SCHEMAS for name, driver in DRIVERS.items()}


def open_driver(host: ShadowHost, **parts: Any) -> HostDriver:
    """Return the driver that a ShadowHost names, connected to it; `parts` are the driver's keyword arguments.

    Raises: InvalidInput for an unknown driver.
    """
    return driver_class(host.spec.driver)(host, **parts)


__all__ = ["DRIVERS", "driver_class", "driver_schemas", "open_driver"]
