"""When two URLs mean one endpoint."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def same_endpoint(url: str) -> str:
    """Return a form that is equal for URLs of one endpoint: case, default port, final dot and slashes do not count."""
    if not port_fits(url):
        return url
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    default = parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}{'' if default else f':{parts.port}'}{parts.path.rstrip('/')}"


def port_fits(url: str) -> bool:
    """True when the URL's host and port can be read: a port is absent or 1 to 65535."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
