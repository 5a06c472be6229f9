"""The folders of a run: whether they may be used together, their locks, and which input folder an output belongs to."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from anomvae.errors import UsageError
from anomvae.formats import suffixes
from anomvae.settings import WatchSettings, seconds
from anomvae.storage import health

if TYPE_CHECKING:
    from anomvae.inbox.inbox import Rules
    from anomvae.inbox.scanner import Scanner
    from anomvae.storage.store import Store


def check(folder: Path, out: Path, shared: Path | None = None) -> None:
    """Refuse folders that lie in each other, and an output folder on a network file system.

    Args:
        folder: the input folder.
        out: the output folder.
        shared: where the results go instead, with --state; it may be on a network file system.


    Raises:
        UsageError: as above, or the input is no folder.
    """
    from anomvae.inbox.probe import file_system, on_network

    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder.")
    for place in (out, shared) if shared else (out,):
        if not place.is_dir() and (place.exists() or place.suffix in suffixes()):
            raise UsageError(f"{place}: the results of a folder go to a folder; name one with -o.")
    source, target = folder.resolve(), out.resolve()
    for place in (target, shared.resolve()) if shared else (target,):
        if source == place or source in place.parents or place in source.parents:
            raise UsageError(f"{place}: an output folder and {folder} must not lie in each other; name another.")
    if shared and shared.resolve() == target:
        raise UsageError(f"--state {out}: is the output folder itself; name another.")
    existing = next(place for place in (target, *target.parents) if place.exists())
    if on_network(existing):
        kind = file_system(existing)
        raise UsageError(
            f"{out}: is on a network file system ({kind}), where no ledger is safe; name a local folder with --state."
        )


def rules(watch: WatchSettings) -> "Rules":
    """What counts as a file of the input folder, by the settings."""
    from anomvae.inbox.inbox import Rules

    return Rules(
        patterns=watch.pattern,
        settle=seconds(watch.settle, "--settle"),
        rescan=seconds(watch.rescan, "--rescan"),
        recursive=watch.recursive,
        marker=watch.marker(),
        native={"auto": None, "native": True, "poll": False}[watch.observer],
    )


@contextmanager
def opened(folder: Path, rules: "Rules") -> Iterator["Scanner"]:
    """The input folder, open to be scanned.

    Raises:
        UsageError: it cannot be opened.
    """
    from anomvae.inbox import inbox

    try:
        scanner = inbox.opened(folder, rules)
    except OSError as error:
        raise UsageError(f"{folder}: this folder cannot be opened ({error.strerror}).") from error
    with closing(scanner):
        yield scanner


@contextmanager
def locked_outputs(folders: Sequence[Path | None]) -> Iterator[None]:
    """Hold the locks of the output folders, so that no other process writes them.

    Raises:
        HeldError: another process holds one.
    """
    with ExitStack() as stack:
        for folder in folders:
            if folder is not None:
                began = datetime.now(UTC).isoformat(timespec="seconds")
                stack.callback(os.close, health.hold_output(folder, began))
        yield


def claim(store: "Store", folder: Path) -> None:
    """One output folder belongs to one input folder: paths in the ledger are relative to it.

    Raises:
        UsageError: it belongs to another.
    """
    here = str(folder.resolve())
    owner = store.ledger.meta("folder")
    if owner not in (None, here) and Path(str(owner)).is_dir():
        raise UsageError(f"{store.out}: holds the results of {owner}; name another output folder with -o.")
    if owner != here:
        store.ledger.set_meta("folder", here)
