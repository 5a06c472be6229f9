"""Outlets that speak HTTP: the webhook gets messages, the heartbeat shows a monitor that a run is alive.

Addresses and keys are secrets. The configuration only names where they are (`env:NAME` or `file:PATH`), and their
values appear in no message, error or log. Requests are bounded in time, follow no redirects, and use https, or http to
this machine alone.
"""

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

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")  # hosts to which http is allowed
STEP = 5.0  # seconds that one step may take: connecting, one read
WHOLE = 10.0  # seconds that the whole request may take
MOST_READ = 1 << 16  # bytes of an answer that are read
TRANSIENT = (408, 429)  # refusals (4xx) that are about the moment, so that trying again makes sense
EVERY = 60.0  # seconds between two pings of a `watch`
PATIENCE = 2.0  # seconds for which a ping may hold up the end of a run


class UndeliveredError(Exception):
    """A receiver did not take a request.

    Args:
        reason: what happened, without anything of the address.
        final: whether trying again is pointless.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class Secret:
    """A value that is kept outside the configuration, and is printed as its reference alone.

    Args:
        reference: `env:NAME` or `file:PATH`.
        key: the key of the configuration that holds the reference, for error messages.

    Raises:
        UsageError: the configuration holds the value itself, or the value is not there, or empty.
    """

    def __init__(self, reference: str, key: str) -> None:
        self.name = f"[outlets] {key}"
        kind, _, source = reference.partition(":")
        if kind not in ("env", "file") or not source:
            raise UsageError(f"{self.name}: is a secret; write env:NAME or file:PATH, and keep the value there.")
        self.reference = reference
        if kind == "env" and source not in os.environ:
            raise UsageError(f"{self.name}: the environment variable {source} is not set.")
        try:
            value = os.environ[source] if kind == "env" else Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.name}: {source} cannot be read.") from error
        self._value = value.strip()
        if not self._value:
            raise UsageError(f"{self.name}: {reference} is empty.")

    def reveal(self) -> str:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"


def address(reference: str, key: str) -> Secret:
    """A secret that is an address: https, or http on this machine. Arguments as for `Secret`.

    Raises:
        UsageError: it is no such address; the message does not show what it is instead.
    """
    secret = Secret(reference, key)
    value = secret.reveal()
    try:
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in THIS_MACHINE)
        clean = value.isascii() and value.isprintable() and " " not in value and not parts.username
        valid = bool(safe and clean and parts.hostname and (parts.port is None or parts.port > 0))
    except ValueError:
        valid = False
    if not valid:
        form = "https://HOST/PATH, or http:// on this machine, without user and password"
        raise UsageError(f"{secret.name}: {reference} is no address of the form {form}.")
    return secret


def post(to: Secret, body: bytes, headers: Mapping[str, str], *, suffix: str = "") -> None:
    """Send a POST request; returns once the receiver has accepted it (2xx).

    Args:
        to: the address.
        body: the bytes to send.
        headers: headers beside the usual ones.
        suffix: added to the path of the address.

    Raises:
        UndeliveredError: it was not accepted; the error says how it ended, and nothing of the address.
    """
    import http.client
    import ssl

    try:
        status = _exchange(to.reveal(), suffix, body, {"User-Agent": f"anomvae/{anomvae.__version__}", **headers})
    except ssl.SSLError as error:
        raise UndeliveredError(f"no trusted connection ({error.reason})") from None
    except TimeoutError:
        raise UndeliveredError("no answer in time") from None
    except OSError as error:
        raise UndeliveredError(error.strerror or "the connection broke") from None
    except (http.client.HTTPException, ValueError):
        raise UndeliveredError("the answer broke off, or was no HTTP") from None
    if not 200 <= status < 300:
        raise UndeliveredError(f"HTTP {status}", final=400 <= status < 500 and status not in TRANSIENT)


def _exchange(url: str, suffix: str, body: bytes, headers: Mapping[str, str]) -> int:
    """One request and its answer; returns the status code."""
    import http.client

    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=STEP)
    target = (parts.path.rstrip("/") + suffix if suffix else parts.path) or "/"
    try:
        connection.connect()
        # The timeout of a socket starts again with every byte, so a timer ends an answer that comes byte by byte.
        timer = threading.Timer(WHOLE, _shut_down, (connection.sock,))
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", f"{target}?{parts.query}" if parts.query else target, body, dict(headers))
            answer = connection.getresponse()
            read = answer.read(MOST_READ)
            if answer.length and len(read) < MOST_READ:  # the receiver died; whether it kept the message is unknown
                raise http.client.IncompleteRead(read, answer.length)
            return answer.status
        finally:
            timer.cancel()
    finally:
        connection.close()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Webhook:
    """An outlet that posts messages to one address.

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
    """Sign a request, so that its receiver can check who sent it.

    Args:
        key: the shared key.
        stamp: the time of the request, as its header gives it.
        body: the body of the request.

    Returns:
        HMAC-SHA256 of the stamp, a full stop and the body, in hexadecimal.
    """
    return hmac.new(key.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Heartbeat:
    """Pings a monitor when a run begins, while it goes on, and with its exit code when it ends.

    Enter it around the run. Pings are sent by a thread and never fail the run.

    Args:
        to: the address; None for no pings at all.
    """

    def __init__(self, to: Secret | None) -> None:
        self._to = to
        self._exit_code = 0
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
            self._exit_code = error.exit_code if isinstance(error, AnomvaeError) else other
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._ping(f"/{self._exit_code}" if self._exit_code else "")
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def finished(self, exit_code: int) -> None:
        """Note the exit code that the last ping reports."""
        self._exit_code = exit_code

    def send_if_due(self) -> None:
        """Report that the run is alive: once a minute, and not while the last ping is still being sent."""
        if time.monotonic() - self._last >= EVERY and not (self._thread and self._thread.is_alive()):
            self._ping("")

    def _ping(self, suffix: str) -> None:
        if self._to is None:
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._send, args=(self._to, suffix), name="ping", daemon=True)
        self._thread.start()

    @staticmethod
    def _send(to: Secret, suffix: str) -> None:
        with suppress(UndeliveredError):
            post(to, b"", {}, suffix=suffix)
