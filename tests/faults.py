"""Faults at the door to the disk: kill at the k-th change, tear a write, fail a call, or write down what a power
cut would leave. And the seeded bugs that the bench must catch.
"""

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anomvae import durable_io


class Count:
    """Counts changes and remembers their verbs."""

    def __init__(self) -> None:
        self.verbs: list[str] = []

    def __call__(self, verb: str, path: Any, *details: Any) -> None:
        self.verbs.append(verb)


class Kill(Count):
    """SIGKILL before the k-th change; `tear`: after half of it, where it is a write."""

    def __init__(self, at: int, *, tear: bool = False) -> None:
        super().__init__()
        self.at, self.tear = at, tear

    def __call__(self, verb: str, path: Any, *details: Any) -> None:
        super().__call__(verb, path, *details)
        if len(self.verbs) == self.at:
            if self.tear and verb == "write":
                os.write(details[0], bytes(details[1])[: len(details[1]) // 2])
            self.last(path)
            os.kill(os.getpid(), signal.SIGKILL)

    def last(self, path: Any) -> None:
        """What else to do before dying."""


class Fail(Count):
    """The k-th change, and the next `times - 1`, fail with an errno."""

    def __init__(self, at: int, code: int = errno.ENOSPC, times: int = 1, verb: str = "") -> None:
        super().__init__()
        self.at, self.code, self.times, self.verb = at, code, times, verb

    def __call__(self, verb: str, path: Any, *details: Any) -> None:
        if self.verb and verb != self.verb:
            return
        super().__call__(verb, path, *details)
        if self.at <= len(self.verbs) < self.at + self.times:
            raise OSError(self.code, os.strerror(self.code), str(path))


class PowerCut(Kill):
    """Kill at the k-th change and leave, in `shadow`, only what was synced: names of synced folders, bytes of synced
    files. The ledger's own files are taken as they are: SQLite syncs each commit.
    """

    def __init__(self, at: int, out: Path, shadow: Path) -> None:
        super().__init__(at)
        self.out, self.shadow = out, shadow
        self.bytes: dict[int, bytes] = {}
        self.names: dict[str, dict[str, int]] = {}
        for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
            self._names(folder)
            for path in folder.iterdir():
                if path.is_file():
                    self.bytes[path.stat().st_ino] = path.read_bytes()

    def __call__(self, verb: str, path: Any, *details: Any) -> None:
        super().__call__(verb, path, *details)
        if verb == "sync":
            descriptor = details[0]
            state = os.fstat(descriptor)
            if Path(str(path)).is_dir():
                self._names(Path(str(path)))
            else:
                self.bytes[state.st_ino] = os.pread(descriptor, state.st_size, 0)

    def _names(self, folder: Path) -> None:
        if self.out in (folder, *folder.parents):
            self.names[str(folder.relative_to(self.out))] = {
                path.name: path.stat().st_ino for path in folder.iterdir() if path.is_file()
            }

    def last(self, path: Any) -> None:
        self.shadow.mkdir(mode=0o700)
        for folder, names in self.names.items():
            (self.shadow / folder).mkdir(mode=0o700, exist_ok=True)
            for name, inode in names.items():
                if name != ".inflight":
                    self._write(self.shadow / folder / name, self.bytes.get(inode, b""))
        for ledger in self.out.glob("ledger.sqlite*"):
            self._write(self.shadow / ledger.name, ledger.read_bytes())

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        path.chmod(0o600)


# --- seeded bugs: each breaks one thing that the promise rests on


def ledger_first() -> None:
    """The ledger says done before the result is there."""
    from anomvae.folder.output_folder import OutputFolder

    good, commit = OutputFolder.commit, OutputFolder.commit

    def bad(self: OutputFolder, fact: Any, result: Path, alerts: Path | None, seen: Any, update: Any = None) -> None:
        real = self.ledger.commit
        self.ledger.commit(fact, seen, self.log_bytes, update)
        self.ledger.commit = lambda *a: None  # type: ignore[method-assign]
        try:
            commit(self, fact, result, alerts, seen, update)
        finally:
            self.ledger.commit = real  # type: ignore[method-assign]

    assert good is commit
    OutputFolder.commit = bad  # type: ignore[method-assign]


def random_names() -> None:
    """Results are named at random, not by content."""
    import secrets

    from anomvae.folder import process_file

    process_file.delivery_id = lambda path, sha: secrets.token_hex(16)  # type: ignore[assignment]


def log_not_cut_back() -> None:
    """The alert log is only ever appended to."""
    from anomvae.folder import output_folder

    write_at = durable_io.write_at

    def bad(path: Path, position: int, pieces: Any) -> int:
        size = path.stat().st_size if path.exists() else 0
        return write_at(path, size, pieces)

    output_folder.durable_io.write_at = bad  # type: ignore[attr-defined]


def no_folder_sync() -> None:
    """Names are never brought to the disk."""
    durable_io.sync_folder = lambda folder: None  # type: ignore[assignment]


BUGS: dict[str, Callable[[], None]] = {
    "ledger first": ledger_first,
    "random names": random_names,
    "log not cut back": log_not_cut_back,
    "no folder sync": no_folder_sync,
}


# --- faults of a whole process, by environment: tests/sabotage/sitecustomize.py calls this


def install(spec: str) -> None:
    """Install the fault that a JSON object names."""
    told = json.loads(spec)
    if "fail" in told:
        durable_io.hook = Fail(**told["fail"])
    if "kill" in told:
        durable_io.hook = Kill(told["kill"])
    if "poison" in told:
        _poison(told["poison"])
    if "observer" in told:
        _observer(told["observer"])
    if "slow" in told:
        _slow(told["slow"])
    if "chunks" in told:
        _chunks(**told["chunks"])


def _poison(how: str) -> None:
    """A file with 'poison' in its name kills, or breaks, whoever reads it."""
    from anomvae.table import typed_reader

    class Table(typed_reader.TableReader):
        def __init__(self, name: str, *rest: Any, **more: Any) -> None:
            if "poison" in name:
                if how == "abort":
                    os.abort()
                if how == "memory":
                    bytearray(1 << 40)
                if how == "bug":
                    raise ZeroDivisionError("a bug")
            super().__init__(name, *rest, **more)

    typed_reader.TableReader = Table  # type: ignore[misc]


def _observer(how: str) -> None:
    """Watchdog as it can be: deaf, dead, or impossible to start."""
    from watchdog import observers

    real = observers.Observer

    class Deaf(real):  # type: ignore[misc, valid-type]
        def dispatch_events(self, event_queue: Any) -> None:
            event_queue.get(block=True)

    class Dead(real):  # type: ignore[misc, valid-type]
        def dispatch_events(self, event_queue: Any) -> None:
            event_queue.get(block=True)
            self.stop()

    class Full(real):  # type: ignore[misc, valid-type]
        def start(self) -> None:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")

    observers.Observer = {"deaf": Deaf, "dead": Dead, "full": Full}[how]  # type: ignore[misc]


def _chunks(rows: int, seconds: float = 0.0, dies: str = "") -> None:
    """Files are long from so many rows on, and given away so many at a time; each takes a while, or ends its process."""
    import time

    from anomvae.scoring import batch, file

    real, file.LONG_ROWS, file.CHUNK_CELLS = batch.score_chunk, rows, rows

    def score_chunk(chunk: batch.Chunk, detector: Any) -> batch.ScoredChunk:
        if dies and dies in chunk.file:
            os.abort()
        time.sleep(seconds)
        return real(chunk, detector)

    batch.score_chunk = score_chunk  # type: ignore[attr-defined]


def _slow(seconds: float) -> None:
    """A disk that takes its time over every sync."""
    import time

    durable_io.hook = lambda verb, *details: time.sleep(seconds) if verb == "sync" else None
