"""The two folders of a run: whether they may be used together, who holds them, whose results are where."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from anomvae.errors import UsageError
from anomvae.formats import suffixes
from anomvae.settings import WatchSettings, seconds
from anomvae.storage import health

if TYPE_CHECKING:
    from anomvae.inbox.inbox import Inbox
    from anomvae.storage.store import Store


def check(folder: Path, out: Path, shared: Path | None = None) -> None:
    """Refuse folders that would feed on each other, and an output on a network file system.

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


@contextmanager
def opened(folder: Path, watch: WatchSettings) -> Iterator["Inbox"]:
    """The input folder, to look into.

    Raises:
        UsageError: it cannot be opened.
    """
    from anomvae.inbox.inbox import Inbox, Rules

    native = {"auto": None, "native": True, "poll": False}[watch.observer]
    rules = Rules(
        patterns=watch.pattern,
        settle=seconds(watch.settle, "--settle"),
        rescan=seconds(watch.rescan, "--rescan"),
        recursive=watch.recursive,
        marker=watch.marker(),
        native=native,
    )
    try:
        inbox = Inbox(folder, rules, lambda path, stat: False, time.monotonic)
    except OSError as error:
        raise UsageError(f"{folder}: this folder cannot be opened ({error.strerror}).") from error
    try:
        yield inbox
    finally:
        inbox.close()


@contextmanager
def held(inbox: "Inbox", folder: Path, outs: Sequence[Path | None]) -> Iterator[None]:
    """Locks: nobody else reads this input folder, nobody else writes these output folders.

    Raises:
        HeldError: somebody does.
    """

    def hold_input() -> None:
        health.hold(inbox.scanner.descriptor, str(folder))

    hold_input()
    inbox.replaced = hold_input
    with ExitStack() as stack:
        for place in outs:
            if place is not None:
                began = datetime.now(UTC).isoformat(timespec="seconds")
                stack.callback(os.close, health.hold_output(place, began))
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
