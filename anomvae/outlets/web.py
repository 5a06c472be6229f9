"""One request over HTTP: bounded in time whatever the other side does, never redirected, its address never told.

TLS costs 15 ms to import, so that is done for the first request, in its thread.
"""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

import anomvae
from anomvae.outlets.secret import Secret

STEP = 5.0  # seconds that one step may take: connecting, one read
WHOLE = 10.0  # seconds that the whole request may take
ANSWER = 1 << 16  # bytes of an answer that are read
AGAIN = (408, 429)  # refusals that are about the moment


class UndeliveredError(Exception):
    """It was not taken. `final`: and never will be."""

    def __init__(self, told: str, *, final: bool = False) -> None:
        super().__init__(told)
        self.final = final


def post(to: Secret, body: bytes, headers: Mapping[str, str], *, below: str = "") -> None:
    """Send a body; returns when the receiver has said that it took it (2xx).

    Args:
        to: the address.
        body: the bytes.
        headers: beside the usual ones.
        below: what to add to the address's path.

    Raises:
        UndeliveredError: any other end; it says which, and nothing of the address.
    """
    import http.client
    import ssl

    try:
        status = _exchange(to.reveal(), below, body, {"User-Agent": f"anomvae/{anomvae.__version__}", **headers})
    except ssl.SSLError as error:
        raise UndeliveredError(f"no trusted connection ({error.reason})") from None
    except TimeoutError:
        raise UndeliveredError("no answer in time") from None
    except OSError as error:
        raise UndeliveredError(error.strerror or "the connection broke") from None
    except (http.client.HTTPException, ValueError):
        raise UndeliveredError("the answer broke off, or was no HTTP") from None
    if not 200 <= status < 300:
        raise UndeliveredError(f"HTTP {status}", final=400 <= status < 500 and status not in AGAIN)


def _exchange(url: str, below: str, body: bytes, headers: Mapping[str, str]) -> int:
    import http.client

    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=STEP)
    target = (parts.path.rstrip("/") + below if below else parts.path) or "/"
    try:
        connection.connect()
        line: socket.socket = connection.sock
        late = threading.Timer(WHOLE, _cut, (line,))
        late.daemon = True
        late.start()
        try:
            connection.request("POST", f"{target}?{parts.query}" if parts.query else target, body, dict(headers))
            answer = connection.getresponse()
            read = answer.read(ANSWER)
            if answer.length and len(read) < ANSWER:  # it died inside its answer: who knows what it kept
                raise http.client.IncompleteRead(read, answer.length)
            return answer.status
        finally:
            late.cancel()
    finally:
        connection.close()


def _cut(line: socket.socket) -> None:
    """End a conversation that somebody draws out byte by byte."""
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
