"""A host over a real socket that remembers every request, byte for byte."""

from __future__ import annotations

import json
import re
import socket
import threading

ANSWER = "canary-answer-0d15ea"


class EchoHost:
    """A host that remembers what it was sent, and answers with secrets of its own."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.received: list[bytes] = []
        self.status = "200 OK"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                head, _, body = self._until_blank_line(connection)
                length = int(re.findall(rb"(?i)\r\ncontent-length: *(\d+)", head)[0])
                while len(body) < length:
                    body += connection.recv(65536)
                self.received.append(head + b"\r\n\r\n" + body)
                text = json.dumps(
                    {"model": "gpt-5-mini", "choices": [{"message": {"content": ANSWER}}]}
                ).encode()
                connection.sendall(
                    f"HTTP/1.1 {self.status}\r\nContent-Length: {len(text)}\r\nContent-Type: application/json\r\n"
                    f"X-Client-Request-ID: correlation-1\r\nConnection: close\r\n\r\n".encode()
                    + text
                )

    @staticmethod
    def _until_blank_line(connection: socket.socket) -> tuple[bytes, bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        return data.partition(b"\r\n\r\n")

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
