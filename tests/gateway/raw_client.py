"""A client that sends bytes as they are: it can break HTTP in every way that a client library would not allow."""

from __future__ import annotations

import socket

from tests.gateway.process import GatewayProcess


def connect(process: GatewayProcess) -> socket.socket:
    """Open a connection to a gateway."""
    host, port = process.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def send(process: GatewayProcess, data: bytes, *, half_close: bool = True) -> bytes:
    """Send bytes on a connection of their own, and return all that comes until the server closes.

    `half_close`: nothing more will come, which the server may take for a client that is gone.
    """
    answer = b""
    with connect(process) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


def statuses_in(answer: bytes) -> list[int]:
    """Return the statuses of answers that came one after another."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
