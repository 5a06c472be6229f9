"""The one door to the disk for what must last: a file is whole or it is not there.

Nothing else in the package may call fsync or rename (tests/test_architecture.py).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from anomvae.errors import EnvironmentFault


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name only when it is complete and on the disk.

    Yields a binary file in the target's own folder; when the block ends well it is synced and renamed
    over `path`, when the block raises it is removed and `path` is untouched.

    Raises:
        EnvironmentFault: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _mode(path))
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be written ({error.strerror}).") from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (this is the door)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EnvironmentFault(f"{path}: not written ({error.strerror}); nothing was changed.") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int:
    """A replaced file keeps its permissions; a new one is private."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0o600


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
