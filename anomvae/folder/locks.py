"""Locks of folders, so that two processes never work on the same one."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from anomvae import durable_io
from anomvae.errors import HeldError

LOCK_TEXT = 160  # bytes of the lock file, filled with spaces so that a shorter text overwrites a longer one


def hold(descriptor: int, what: str, holder_file: Path | None = None) -> None:
    """Take the lock of an open folder or file.

    Args:
        descriptor: the open folder or file; the lock is released when the process ends.
        what: what is held, for the message.
        holder_file: a file whose text says who holds the lock, for the message.

    Raises:
        HeldError: another process has it.
    """
    if durable_io.lock(descriptor):
        return
    holder = ""
    if holder_file is not None:
        with suppress(OSError):
            holder = f" ({holder_file.read_text(encoding='utf-8', errors='replace').strip()[:200]})"
    raise HeldError(f"{what}: another anomvae works on it{holder}; this one has nothing to do.")


def hold_output(out: Path, started: str) -> int:
    """Take the lock of an output folder, which is made when missing.

    Args:
        out: the folder.
        started: when the run began, for the message of a process that finds the lock taken.

    Returns:
        The descriptor that holds the lock.

    Raises:
        HeldError: another process has it.
    """
    path = out / "lock"
    with durable_io.faults(f"{out}: cannot be used as the output folder"):
        durable_io.make_folder(out)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    hold(descriptor, str(out), path)
    text = f"pid {os.getpid()} on {socket.gethostname()} since {started}".encode()
    with suppress(OSError):  # the text is for people only
        os.pwrite(descriptor, text.ljust(LOCK_TEXT - 1) + b"\n", 0)
    return descriptor
