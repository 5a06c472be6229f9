"""The archive of `--after move`: processed files leave the input folder after their commit.

No file ever replaces another. A rename takes whatever file has the name at that moment. Where that is no longer the
file that was processed, it is put back; where its name is taken by then, it stays beside the moved files, so that
nothing is lost.
"""

import errno
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from anomvae import durable_io
from anomvae.errors import EnvironmentFault, UsageError
from anomvae.folder.output_folder import OutputFolder
from anomvae.folder.scanner import Scanner


class Archive:
    """Moves processed files to `done/` or `quarantine/` of the output folder.

    Args:
        scanner: the input folder.
        output: the output folder, on the same file system.
        say: called with notes for the user.
    """

    def __init__(self, scanner: Scanner, output: OutputFolder, say: Callable[[str], None]) -> None:
        self.scanner, self.output, self._say = scanner, output, say

    def finish_pending(self) -> None:
        """Finish the moves that an earlier run has left undone."""
        for entry in self.output.ledger.pending_moves():
            self.move(entry.path, entry.delivery_id, entry.sha256, quarantined=entry.state == "quarantined")

    def move(self, path: bytes, delivery_id: str, sha256: str, *, quarantined: bool) -> None:
        """Move one file out of the input folder, and record in the ledger how that ended.

        Args:
            path: the file, below the input folder.
            delivery_id: its delivery, which names the folder that it goes to.
            sha256: the content that was processed; a file with another content is put back.
            quarantined: whether it goes to `quarantine/` instead of `done/`.
        """
        folder = self.output.quarantine if quarantined else self.output.out / "done"
        target = folder / delivery_id / safe_name(path)
        with durable_io.faults(f"{target}: the file could not be moved here"):
            durable_io.make_folder(folder)
            durable_io.make_folder(target.parent)
            state = "moved" if target.exists() else self._move(path, target, sha256)
            durable_io.sync_folder(target.parent)
        self.output.ledger.moved(delivery_id, state)

    def _move(self, path: bytes, target: Path, sha256: str) -> str:
        if not durable_io.move(self.scanner.descriptor, path, target):
            return "gone"
        if durable_io.sha256(target) == sha256:
            return "moved"
        if not durable_io.put_back(target, self.scanner.descriptor, path):
            self._say(f"{target}: newer than what was judged, and its name is taken by now; put it back by hand")
        return "gone"


def check_same_disk(folder: Path, out: Path) -> None:
    """Refuse `--after move` between two file systems, where a move is a copy and a deletion.

    Raises:
        UsageError: the two folders are on different file systems.
    """
    try:
        if folder.stat().st_dev != out.stat().st_dev:
            raise UsageError(f"--after move: {out} is on another file system than {folder}; put it on the same one.")
    except OSError as error:
        raise EnvironmentFault.of(error, f"{out}: cannot be used") from error


def bring_back(out: Path, folder: Path, path: bytes, delivery_id: str) -> None:
    """Put a quarantined file back into the input folder, for `retry`; does nothing for one that was not moved.

    Args:
        out: the output folder.
        folder: the input folder.
        path: the file, below the input folder.
        delivery_id: its delivery.

    Raises:
        UsageError: another file has its name, or the folder that it came from is gone.
    """
    moved = out / "quarantine" / delivery_id / safe_name(path)
    if not moved.exists():
        return
    try:
        with closing(Scanner(folder, ("*",))) as scanner:
            free = durable_io.put_back(moved, scanner.descriptor, path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise UsageError(f"{folder}: the folder that {delivery_id} came from is gone.") from error
        raise EnvironmentFault.of(error, f"{folder}: the file could not be put back") from error
    if not free:
        raise UsageError(f"{folder}: another file has the name of {delivery_id} by now; move one of them away.")


def safe_name(path: bytes) -> str:
    """The last part of a path, with everything replaced that could do harm in a shell or a terminal."""
    name = path.rpartition(b"/")[2].decode("utf-8", "replace")
    return re.sub(r"[^\w. +-]", "_", name, flags=re.ASCII)[:100].lstrip(".-") or "file"
