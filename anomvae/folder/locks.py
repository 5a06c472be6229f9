"""The health file, the locks of folders, and the notifications to systemd."""

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import msgspec

from anomvae import durable_io
from anomvae.errors import HeldError
from anomvae.records.folder import HealthResult

HEALTH = "health.json"
LOCK_TEXT = 160  # bytes of the lock file, filled with spaces so that a shorter text overwrites a longer one
BEAT = 5.0  # seconds between two beats


def hold(descriptor: int, what: str, holder_file: Path | None = None) -> None:
    """Take the lock of an open folder or file.

    Args:
        descriptor: the open folder or file; the lock goes when the process ends.
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
    """Take the lock of an output folder; returns the descriptor that holds it."""
    path = out / "lock"
    with durable_io.faults(f"{out}: cannot be used as the output folder"):
        durable_io.make_folder(out)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    hold(descriptor, str(out), path)
    text = f"pid {os.getpid()} on {socket.gethostname()} since {started}".encode()
    with suppress(OSError):  # the text is for people only
        os.pwrite(descriptor, text.ljust(LOCK_TEXT - 1) + b"\n", 0)
    return descriptor


def publish(out: Path, health: HealthResult) -> bool:
    """Replace the health file; false where that failed, which stops nothing."""
    try:
        durable_io.publish(out / HEALTH, msgspec.json.format(msgspec.json.encode(health), indent=1) + b"\n")
    except OSError:
        return False
    return True


def read(out: Path) -> HealthResult | None:
    """The last health that a run told; None where there is none."""
    try:
        return msgspec.json.decode((out / HEALTH).read_bytes(), type=HealthResult)
    except (OSError, msgspec.DecodeError):
        return None


def free_bytes(out: Path) -> int:
    """Free space on the disk of the output folder."""
    return shutil.disk_usage(out).free


def notify(text: str) -> None:
    """Tell systemd, where it listens (sd_notify(3)): READY=1, WATCHDOG=1, STATUS=..., STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(text.encode())
