"""nginx: the host that answers without thinking, and the plain reverse proxy that does nothing but proxy."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.stand.peers import debian
from bench.stand.programs import Program, listens, running, wait_until
from bench.stand.traffic import HOST_KEY, answer_body

_CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 100000000; keepalive_timeout 600s; client_body_buffer_size 128k;
    {http}
}}
"""
_HOST = """
    map $http_authorization $known {{ default 0; "Bearer {key}" 1; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            default_type application/json;
            if ($known = 0) {{ return 401; }}
            return 200 '{answer}';
        }}
    }}
"""
_PROXY = """
    upstream host {{ server 127.0.0.1:{host}; keepalive 256; keepalive_requests 100000000; keepalive_timeout 600s; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://host; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {key}"; {more}
        }}
    }}
"""


@contextlib.contextmanager
def host(folder: Path, port: int) -> Iterator[Program]:
    """Run the host; a request without the host's key is refused."""
    with _nginx(folder, port, _HOST.format(port=port, key=HOST_KEY, answer=answer_body())) as program:
        yield program


@contextlib.contextmanager
def proxy(folder: Path, port: int, host_port: int, *, more: str = "") -> Iterator[Program]:
    """Run the plain reverse proxy. `more` directives may be given for it."""
    http = _PROXY.format(port=port, host=host_port, key=HOST_KEY, more=more)
    with _nginx(folder, port, http) as program:
        yield program


@contextlib.contextmanager
def _nginx(folder: Path, port: int, http: str) -> Iterator[Program]:
    folder.mkdir()
    config, log = folder / "nginx.conf", folder / "log"
    config.write_text(_CONFIG.format(folder=folder, http=http))
    with running([debian("nginx", "nginx"), "-p", str(folder), "-c", str(config)], log) as program:
        wait_until(lambda: listens(port), program, log)
        yield program


def version() -> str:
    """Return nginx's version."""
    done = subprocess.run([debian("nginx", "nginx"), "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().rpartition("/")[2]
