"""Folders of object stores (`s3://bucket/in`, `memory://in`), through fsspec.

An object store has no rename and no half-written objects: what is put is there whole, or not at all.
"""

import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anomvae import disk
from anomvae.errors import EnvironmentFault, UsageError

INSTALL = "needs the extra 'scale': pip install 'anomvae[scale]'."
# The fields of a file's listing that differ between two versions of it, the most reliable first.
TAGS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


class MissingError(EnvironmentFault):
    """A file is not there any more."""


class Place:
    """A folder of an object store.

    Args:
        uri: its address.

    Raises:
        UsageError: no installed library knows such addresses.
    """

    def __init__(self, uri: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise UsageError(f"{uri}: {INSTALL}") from error
        self.uri = uri
        try:
            self._system, self._root = url_to_fs(uri)
        except (ImportError, ValueError) as error:  # the library of this kind of store is missing, or it is unknown
            raise UsageError(f"{uri}: cannot be used ({_first(error)}).") from error
        self._root = self._root.rstrip("/")

    def files(self, *, recursive: bool) -> dict[str, str]:
        """Names of the files in it, relative and in order, each with a tag that is another for another version.

        Names that could not be a path below a folder are left out.

        Raises:
            EnvironmentFault: it cannot be listed.
            UsageError: it is a file.
        """
        with self._faults("cannot be listed"):
            self._system.invalidate_cache()
            found = self._system.find(self._root, maxdepth=None if recursive else 1, detail=True)
            if not found:  # an empty folder is none; that its bucket is missing must not pass for it
                self._system.ls(self._root.partition("/")[0] or "/")
        if self._root in found:
            raise UsageError(f"{self.uri}: is a file; name its folder.")
        names = {posixpath.relpath(path, self._root): info for path, info in found.items()}
        return {name: _tag(names[name]) for name in sorted(names) if ".." not in name.split("/") and "\0" not in name}

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to this machine, where it appears whole.

        Raises:
            MissingError: it is not there any more.
            EnvironmentFault: the place, or the disk, failed.
        """
        with disk.faults(f"{target.parent}: cannot be made"):
            disk.make_folder(target.parent)
        with (
            disk.replacing(target) as out,
            self._faults(f"{name} cannot be copied"),
            self._system.open(f"{self._root}/{name}", "rb") as source,
        ):
            shutil.copyfileobj(source, out, disk.CHUNK)

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine there; a file of this name is replaced."""
        with self._faults(f"{name} cannot be written"):
            self._system.makedirs(posixpath.dirname(f"{self._root}/{name}"), exist_ok=True)
            self._system.put_file(str(source), f"{self._root}/{name}")

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """The libraries of object stores fail in many ways; none of them is the fault of the data."""
        try:
            yield
        except FileNotFoundError as error:
            raise MissingError(f"{self.uri}: {what} (it is not there).") from error
        except Exception as error:
            raise EnvironmentFault(f"{self.uri}: {what} ({_first(error)}).") from error


def _tag(info: dict[str, Any]) -> str:
    version = next((str(info[key]) for key in TAGS if info.get(key) is not None), "")
    return f"{info.get('size')} {version}"


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
