"""What nobody may read: addresses and keys, named in the configuration and kept out of every text."""

import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anomvae
from anomvae.errors import AnomvaeError, UsageError
from anomvae.folder.outbox import OutboxMessage

LOCAL = ("localhost", "127.0.0.1", "::1")


class Secret:
    """A value that is shown by its name alone.

    Args:
        reference: `env:NAME` or `file:PATH`.
        key: of the configuration, for messages.

    Raises:
        UsageError: it is written in the configuration itself, is not there, or is empty.
    """

    def __init__(self, reference: str, key: str) -> None:
        self.name = f"[outlets] {key}"
        kind, _, place = reference.partition(":")
        if kind not in ("env", "file") or not place:
            raise UsageError(f"{self.name}: is a secret; write env:NAME or file:PATH, and keep the value there.")
        self.reference = reference
        self._value = (self._variable(place) if kind == "env" else self._file(place)).strip()
        if not self._value:
            raise UsageError(f"{self.name}: {reference} is empty.")

    def reveal(self) -> str:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def _variable(self, name: str) -> str:
        if name not in os.environ:
            raise UsageError(f"{self.name}: the environment variable {name} is not set.")
        return os.environ[name]

    def _file(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.name}: {path} cannot be read.") from error


def address(reference: str, key: str) -> Secret:
    """A secret that is an address: https, or http on this machine.

    Raises:
        UsageError: it is none; what it is instead is not told.
    """
    secret = Secret(reference, key)
    value = secret.reveal()
    try:
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL)
        plain = value.isascii() and value.isprintable() and " " not in value and not parts.username
        good = bool(safe and plain and parts.hostname and (parts.port is None or parts.port > 0))
    except ValueError:
        good = False
    if not good:
        told = "https://HOST/PATH, or http:// on this machine, without user and password"
        raise UsageError(f"{secret.name}: {reference} is no address of the form {told}.")
    return secret


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


class Webhook:
    """Posts messages to one address.

    Args:
        to: the address.
        key: what requests are signed with; None for no signature.
    """

    name = "webhook"

    def __init__(self, to: Secret, key: Secret | None) -> None:
        self._to, self._key = to, key

    def send(self, message: OutboxMessage, now: float) -> None:
        """Send a message, at a time in Unix seconds.

        Raises:
            UndeliveredError: it was not taken.
        """
        body, stamp = message.body.encode(), str(int(now))
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key, "X-Anomvae-Timestamp": stamp}
        if self._key is not None:
            headers["X-Anomvae-Signature"] = f"sha256={signature(self._key.reveal(), stamp, body)}"
        post(self._to, body, headers)


def signature(key: str, stamp: str, body: bytes) -> str:
    """HMAC-SHA256 of timestamp, a full stop and the body, in hexadecimal."""
    return hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


EVERY = 60.0  # seconds between two pings of a watch
PATIENCE = 2.0  # seconds that the last ping may hold the end


class Pulse:
    """Pings an address around a run.

    Args:
        to: the address; None for no ping at all.

    Attributes:
        code: the exit code that the run will have.
    """

    def __init__(self, to: Secret | None) -> None:
        self._to, self.code = to, 0
        self._last = float("-inf")
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._ping("/start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            other = 70 if isinstance(error, Exception) else 130
            self.code = error.exit_code if isinstance(error, AnomvaeError) else other
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._ping(f"/{self.code}" if self.code else "")
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def beat(self) -> None:
        """The run is alive; told once a minute, and not while the last ping is on its way."""
        if time.monotonic() - self._last >= EVERY and not (self._thread and self._thread.is_alive()):
            self._ping("")

    def _ping(self, below: str) -> None:
        if self._to is None:
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._send, args=(self._to, below), name="ping", daemon=True)
        self._thread.start()

    @staticmethod
    def _send(to: Secret, below: str) -> None:
        try:
            post(to, b"", {}, below=below)
        except UndeliveredError:
            return
