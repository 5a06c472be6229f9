"""Receivers for the tests of outlets: real HTTP servers on this machine that behave as receivers do, good and bad."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver(http.server.ThreadingHTTPServer):
    """Answers by `mood`: ok, a status as text, `redirect`, `hang`, `drip`, `cut` (dies inside the answer) or `close`.

    `requests` are all that came, `taken` those that were answered well.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.mood = "ok"
        self.requests: list[Request] = []
        self.taken: list[Request] = []
        self.over = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that gives up is no news."""

    def wait(self, taken: int, seconds: float = 20) -> list[Request]:
        until = time.monotonic() + seconds
        while len(self.taken) < taken:
            assert time.monotonic() < until, f"{len(self.taken)} of {taken} messages came"
            time.sleep(0.02)
        return self.taken


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.server.requests.append(request)
        mood = self.server.mood
        if mood == "ok":
            self.server.taken.append(request)
            self._status(200)
        elif mood == "redirect":
            self._status(307, Location=self.server.url("/elsewhere"))
        elif mood == "hang":
            self.server.over.wait(60)
        elif mood == "drip":
            while not self.server.over.wait(0.1):
                self.wfile.write(b"H")
        elif mood == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.close_connection = True
        elif mood == "close":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._status(int(mood))

    def _status(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """A receiver that works in a thread."""
    server = Receiver(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
