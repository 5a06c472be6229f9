"""What nobody may read: addresses and keys, named in the configuration and kept out of every text."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from anomvae.errors import UsageError

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
