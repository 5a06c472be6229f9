"""Scans of the input folder: which candidate files are in it now.

The folder is kept open, and files are opened relative to it without following links, so that a name can never lead out
of it. A file that cannot be looked at counts as unknown, never as gone.
"""

import fnmatch
import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

IGNORED_STARTS = (".", "~", "_")
IGNORED_ENDS = (
    *(".tmp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".swp", "~", ".lock"),
    *(".done", ".ok", ".md5", ".sha256", ".reason.json"),
)
DEEPEST = 16  # levels of folders inside that are scanned
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER = OPEN | os.O_DIRECTORY


class Stat(NamedTuple):
    """What identifies one state of one file. Times are compared for equality only."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Scan(msgspec.Struct):
    """The result of one scan.

    Attributes:
        files: the states of candidate files, by their paths below the folder.
        complete: whether everything could be looked at.
        skipped: how many entries were no candidates, by reason.
        replaced: whether the folder itself is another one than at the last scan.
    """

    files: dict[bytes, Stat]
    complete: bool
    skipped: Counter[str]
    replaced: bool = False


def stat_of(found: os.stat_result) -> Stat:
    """The fields of a stat result that identify a file's state."""
    return Stat(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Scanner:
    """Scans a folder, which it keeps open.

    Args:
        folder: the folder.
        patterns: globs on the name, of which one must match.
        recursive: whether folders inside count, down to 16 levels, links apart.
        marker: a suffix that a producer gives to a file's marker; unmarked files are then no candidates.

    Raises:
        OSError: the folder cannot be opened.
    """

    def __init__(
        self, folder: Path, patterns: Sequence[str], *, recursive: bool = False, marker: str | None = None
    ) -> None:
        self.folder, self.recursive = folder, recursive
        self.marker = None if marker is None else os.fsencode(marker)
        self._fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match
        self.descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = os.fstat(self.descriptor)
        self._identity = found.st_dev, found.st_ino

    def close(self) -> None:
        """Close the folder."""
        os.close(self.descriptor)

    def scan(self) -> Scan:
        """Scan the folder once."""
        found = Scan({}, True, Counter())
        try:
            found.replaced = self._reopen()
            self._scan_folder(self.descriptor, b"", 0, found)
        except OSError:
            found.complete = False
        return found

    def open(self, path: bytes) -> int:
        """A descriptor of a file in the folder, for reading; links are not followed on the way.

        Raises:
            OSError: it is not there, is a link, or may not be read.
        """
        *folders, name = path.split(b"/")
        at = self.descriptor
        try:
            for folder in folders:
                inner = os.open(folder, FOLDER, dir_fd=at)
                if at != self.descriptor:
                    os.close(at)
                at = inner
            return os.open(name, OPEN, dir_fd=at)
        finally:
            if at != self.descriptor:
                os.close(at)

    def _reopen(self) -> bool:
        """Open the folder that has the path by now; returns whether it is another one than before."""
        now = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        found = os.fstat(now)
        if (found.st_dev, found.st_ino) == self._identity:
            os.close(now)
            return False
        os.close(self.descriptor)
        self.descriptor, self._identity = now, (found.st_dev, found.st_ino)
        return True

    def _scan_folder(self, descriptor: int, prefix: bytes, depth: int, found: Scan) -> None:
        markers: set[bytes] = set()
        files: dict[bytes, Stat] = {}
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if self.marker is not None and name.endswith(self.marker):
                    markers.add(name)
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                except OSError:
                    found.complete = False
                    continue
                if stat.S_ISDIR(state.st_mode) and self.recursive and depth < DEEPEST and not name.startswith(b"."):
                    self._scan_inside(descriptor, name, prefix, depth, found)
                elif reason := self._unfit(entry.name, state.st_mode):
                    found.skipped[reason] += 1
                else:
                    files[name] = stat_of(state)
        for name, state_now in files.items():
            if self.marker is None or name + self.marker in markers:
                found.files[prefix + name] = state_now

    def _scan_inside(self, descriptor: int, name: bytes, prefix: bytes, depth: int, found: Scan) -> None:
        try:
            inner = os.open(name, FOLDER, dir_fd=descriptor)
        except OSError:
            found.complete = False
            return
        try:
            self._scan_folder(inner, prefix + name + b"/", depth + 1, found)
        except OSError:
            found.complete = False
        finally:
            os.close(inner)

    def _unfit(self, name: str, mode: int) -> str:
        """Why an entry is no candidate; empty for a candidate."""
        if name.startswith(IGNORED_STARTS) or name.endswith(IGNORED_ENDS) or not self._fits(name):
            return "name"
        if stat.S_ISLNK(mode):
            return "skipped_symlink"
        return "" if stat.S_ISREG(mode) else "not_regular"
