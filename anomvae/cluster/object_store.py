"""Folders of object stores (`s3://bucket/in`, `memory://in`), through fsspec.

An object store has no rename and no half-written objects: what is put is there whole, or not at all.
"""

import posixpath
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from anomvae import durable_io
from anomvae.errors import EnvironmentFault, UsageError
from anomvae.folder.output_folder import MANIFEST, REASON

INSTALL = "needs the extra 'scale': pip install 'anomvae[scale]'."
# Fields of a listing that differ between two versions of a file, the most reliable first.
VERSION_FIELDS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


class MissingError(EnvironmentFault):
    """An object, or its folder, is not there any more."""


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
        """The files in it, in order: relative names, and a tag of each that changes with its content.

        Names that cannot be a path below a folder are left out.

        Args:
            recursive: whether files of deeper folders count.

        Raises:
            EnvironmentFault: it cannot be listed.
            UsageError: it is a file.
        """
        with self._faults("cannot be listed"):
            self._system.invalidate_cache()
            found = self._system.find(self._root, maxdepth=None if recursive else 1, detail=True)
            if not found:  # a missing bucket must not look like an empty folder
                self._system.ls(self._root.partition("/")[0] or "/")
        if self._root in found:
            raise UsageError(f"{self.uri}: is a file; name its folder.")
        names = {posixpath.relpath(path, self._root): info for path, info in found.items()}
        return {name: _tag(names[name]) for name in sorted(names) if ".." not in name.split("/") and "\0" not in name}

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to a file of this machine, which appears whole.

        Raises:
            MissingError: it is not there any more.
            EnvironmentFault: the place, or the disk, failed.
        """
        with durable_io.faults(f"{target.parent}: cannot be made"):
            durable_io.make_folder(target.parent)
        with (
            durable_io.replacing(target) as out,
            self._faults(f"{name} cannot be copied"),
            self._system.open(f"{self._root}/{name}", "rb") as source,
        ):
            shutil.copyfileobj(source, out, durable_io.CHUNK)

    def put(self, source: Path, name: str) -> None:
        """Copy a file of this machine into the store; an object of this name is replaced."""
        with self._faults(f"{name} cannot be written"):
            self._system.makedirs(posixpath.dirname(f"{self._root}/{name}"), exist_ok=True)
            self._system.put_file(str(source), f"{self._root}/{name}")

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """Turn any error of the block into a fault of the machine: the libraries of object stores fail in many ways."""
        try:
            yield
        except FileNotFoundError as error:
            raise MissingError(f"{self.uri}: {what} (it is not there).") from error
        except Exception as error:
            raise EnvironmentFault(f"{self.uri}: {what} ({_first(error)}).") from error


def _tag(info: dict[str, Any]) -> str:
    version = next((str(info[key]) for key in VERSION_FIELDS if info.get(key) is not None), "")
    return f"{info.get('size')} {version}"


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__


KNOWN = "objects.json"  # names and tags of the objects that were copied


class Mirror:
    """Keeps folders of object stores and folders of this machine alike: input is copied here, results are copied there.

    Args:
        source: the address of the folder that files come from; None: they are on this machine.
        target: the address of the folder that results go to; None: they stay on this machine.
        state: the folder of this machine for copies.

    Raises:
        UsageError: a place cannot be used.
    """

    def __init__(self, source: str | None, target: str | None, state: Path) -> None:
        self._source, self._target = (Place(uri) if uri else None for uri in (source, target))
        self.incoming, self._notes = state / "incoming", state / KNOWN

    def fetch(self, patterns: Sequence[str], *, recursive: bool) -> None:
        """Copy what is new at the source, if there is one, to the folder `incoming`.

        Args:
            patterns: file names to copy, as shell patterns.
            recursive: whether files of deeper folders are copied too.

        Raises:
            EnvironmentFault: the place, or the disk, failed.
        """
        if self._source is None:
            return
        with durable_io.faults(f"{self.incoming}: cannot be made"):
            durable_io.make_folder(self.incoming)
        known = self._known()
        for name, tag in self._source.files(recursive=recursive).items():
            matches = any(fnmatchcase(name.rpartition("/")[2], pattern) for pattern in patterns)
            if matches and (known.get(name) != tag or not (self.incoming / name).exists()):
                self._source.fetch(name, self.incoming / name)
                known[name] = tag
        with durable_io.replacing(self._notes) as file:
            file.write(msgspec.json.encode(known))

    def _known(self) -> dict[str, str]:
        """Tags by name of what was copied; where that is lost, all is copied again (the ledger knows it)."""
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._notes.read_bytes(), type=dict[str, str])
        return {}

    def send(self, out: Path) -> int:
        """Copy the new results of an output folder to the target, if there is one; returns how many files they are of.

        Raises:
            EnvironmentFault: the place failed.
        """
        if self._target is None:
            return 0
        there = self._target.files(recursive=True)
        new = [one for one in sorted((out / "results").glob(f"*{MANIFEST}")) if f"results/{one.name}" not in there]
        for manifest in new:
            for path in (*_results(manifest), manifest):
                self._target.put(path, f"results/{path.name}")
        for reason in sorted((out / "quarantine").glob(f"*{REASON}")):
            if f"quarantine/{reason.name}" not in there:
                self._target.put(reason, f"quarantine/{reason.name}")
        if new:
            self._target.put(out / "alerts.jsonl", "alerts.jsonl")
        return len(new)


def _results(manifest: Path) -> list[Path]:
    stem = manifest.name.removesuffix(MANIFEST)
    return [path for path in sorted(manifest.parent.glob(f"{stem}.*")) if path != manifest]
