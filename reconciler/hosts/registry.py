"""The drivers there are, by the word that a ShadowHost's `spec.driver` uses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from reconciler.errors import InvalidInput
from reconciler.hosts.contract import HostDriver
from reconciler.hosts.sub2api import Sub2apiDriver
from reconciler.manifest import ShadowHost
from reconciler.remote.budget import Clock, Sleep

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


def open_driver(
    host: ShadowHost,
    *,
    admin_endpoint: str,
    data_endpoint: str,
    admin_key: str,
    installation: str,
    fingerprint: Callable[[str], str],
    issuer_password: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    sleep: Sleep = asyncio.sleep,
    clock: Clock = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    timeout: httpx.Timeout | None = None,
) -> HostDriver:
    """Return the driver that a ShadowHost names, ready to talk to it; nothing is sent yet.

    Endpoints are as reachable, never `embedded://`. `fingerprint` is the installation's keyed fingerprint of a
    secret. `issuer_password` is needed to make, change or delete GatewayKeys. `timeout` None is the usual one.

    Raises: InvalidInput for an unknown driver.
    """
    return driver_class(host.spec.driver)(
        host,
        admin_endpoint=admin_endpoint,
        data_endpoint=data_endpoint,
        admin_key=admin_key,
        installation=installation,
        fingerprint=fingerprint,
        issuer_password=issuer_password,
        transport=transport,
        sleep=sleep,
        clock=clock,
        now=now,
        timeout=timeout,
    )


__all__ = ["DRIVERS", "driver_class", "driver_schemas", "open_driver"]
