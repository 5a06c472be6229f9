"""Writing files that must last: a file is whole, or it is not there.

Only this module may call fsync, rename, unlink, truncate or flock (tests/test_architecture.py).
Every call that changes the disk first passes `hook`, where the tests kill the process, fill the disk, or
write down what a power cut would leave. A failed call becomes an EnvironmentFault: the machine's fault, never
the data's; a failed fsync becomes an UnsyncedError, after which nothing may be trusted but a new start.
"""

import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from anomvae.errors import EnvironmentFault, UnsyncedError

# Called as hook(verb, path, *details) before each change; replaced by tests only.
hook: Callable[..., None] = lambda verb, path, *details: None  # noqa: E731 (a name for a test to replace)

BUFFER = 1 << 16
CHUNK = 1 << 20


class _HookedFile(io.FileIO):
    """A file whose every write passes the hook."""

    def write(self, data: Any) -> int:
        """Write bytes; returns how many."""
        hook("write", self.name, self.fileno(), data)
        return super().write(data)


@contextmanager
def faults(what: str) -> Iterator[None]:
    """System errors inside the block become EnvironmentFaults that begin with `what`."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFault.of(error, what) from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears under its name only when it is complete and on the disk.

    Yields a binary file in the target's own folder; when the block ends well it is synced and renamed
    over `path`, when the block raises it is removed and `path` is untouched.

    Raises:
        EnvironmentFault: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with faults(f"{path}: cannot be written"):
        file = create(temporary, _mode(path))
    try:
        with faults(f"{path}: not written; nothing was changed"):
            with file:
                yield file
                sync(file)
            rename(temporary, path)
            sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file at once but without waiting for the disk: for a state that the next write overtakes.

    Args:
        path: the file.
        data: what it holds from now on.
        mode: who may read it, whatever the umask.

    Raises:
        OSError: it could not be written; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with create(temporary) as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    rename(temporary, path)


def create(path: Path, mode: int = 0o600) -> io.BufferedRandom:
    """Open a new private file for writing; it must not be there, not even as a link.

    Raises:
        OSError: it is there, or cannot be made.
    """
    hook("create", path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    return adopt(descriptor, path)


def adopt(descriptor: int, path: Path) -> io.BufferedRandom:
    """A file over a descriptor that is open for writing, whose every write passes the hook; closing it closes both."""
    file = _HookedFile(descriptor, "r+")
    file.name = str(path)
    return io.BufferedRandom(file, BUFFER)


def create_all(path: Path, data: bytes | memoryview) -> None:
    """A new file with these bytes, on the disk under a name that is not yet."""
    with create(path) as file:
        file.write(data)
        sync(file)


def sync(file: IO[bytes]) -> None:
    """Bytes written so far are on the disk when this returns.

    Raises:
        UnsyncedError: the disk could not take them.
    """
    file.flush()
    _sync(file.fileno(), file.name)


def sync_folder(folder: Path) -> None:
    """Names made, changed or removed in a folder are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor, folder)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, path: Path | str) -> None:
    try:
        hook("sync", path, descriptor)
        os.fsync(descriptor)
    except OSError as error:
        raise UnsyncedError(f"{path}: could not be brought to the disk ({error.strerror}); start again.") from error


def rename(source: Path, target: Path) -> None:
    """Give a file another name, over whatever has it; it lasts after `sync_folder`."""
    hook("rename", target, source)
    os.replace(source, target)  # noqa: PTH105 (os.replace is called here alone)


def remove(path: Path) -> None:
    """Remove a file of our own, if it is there."""
    hook("remove", path)
    path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """A private folder that lasts, its parents with the permissions of the user's umask."""
    if not path.is_dir():
        hook("mkdir", path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def link_folder(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to a folder.

    Raises:
        OSError: something else has the name.
    """
    if not (path.is_symlink() and path.readlink() == target):
        hook("link", path, target)
        path.symlink_to(target, target_is_directory=True)
        sync_folder(path.parent)


def write_at(path: Path, position: int, chunks: Iterator[bytes]) -> int:
    """Write bytes at a position of a file, cut off what stood behind them, and sync.

    Args:
        path: the file; made when missing.
        position: in bytes from its start.
        chunks: what to write, one after the other.

    Returns:
        The size of the file.
    """
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with adopt(descriptor, path) as file:
        hook("truncate", path, descriptor, position)
        file.truncate(position)
        file.seek(position)
        for chunk in chunks:
            file.write(chunk)
        sync(file)
        end = file.tell()
    if new:
        sync_folder(path.parent)
    return end


def lock(descriptor: int) -> bool:
    """Take the kernel's exclusive lock on an open file or folder; false where another process has it.

    The kernel drops it when the process ends, however it ends.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def move(folder: int, name: bytes, target: Path) -> bool:
    """Move whatever file has this name in an open folder at this moment; false where none has.

    A rename, so nothing can be lost: where it took another file than was meant, the caller sees that at the target and
    puts it back.

    Args:
        folder: its descriptor.
        name: of the file.
        target: the new path.

    Raises:
        OSError: the target is on another file system, or the folder cannot be written.
    """
    hook("move", target, name)
    try:
        os.rename(name, target, src_dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def put_back(source: Path, folder: int, name: bytes) -> bool:
    """Undo `move`; false where the name is taken by now, so that the file stays where it is.

    Args:
        source: where the file is.
        folder: descriptor of the folder to put it back into.
        name: that it had there.
    """
    hook("put back", source, name)
    try:
        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return False
    remove(source)
    return True


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _mode(path: Path) -> int:
    """A replaced file keeps its permissions; a new one is private."""
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    return 0o600
