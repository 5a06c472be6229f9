"""The output folder of a watched folder: results, quarantine, alert log, ledger, and the order of the commit.

    scored rows -> sync -> manifest and result under their names, which are hashes of path and content -> sync
    -> alert log, written at the length that the ledger knows -> sync -> the ledger's transaction

A crash before the transaction leaves nothing official: the same file gives the same names and bytes again, and the log
is cut back. A crash after it changes nothing. All files are readable by their owner alone.
"""

import hashlib
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from anomvae import durable_io
from anomvae.errors import UsageError
from anomvae.folder import ledger_rebuild
from anomvae.folder.database import Damaged
from anomvae.folder.ledger import Key, Ledger
from anomvae.folder.outbox import OutboxUpdate
from anomvae.formats import suffixes
from anomvae.records.folder import Manifest, Quarantined

IN_PROGRESS_BYTES = 8192  # length to which the list of files in progress is filled with spaces
MANIFEST = ".manifest.json"
REASON = ".reason.json"
FOLDERS = ("results", "quarantine", ".tmp")


class InProgress(msgspec.Struct, frozen=True):
    """A file that is being processed now, and the delivery that it will be, once that is known."""

    path: bytes
    delivery_id: str = ""


class OutputFolder:
    """An output folder, opened for writing by the one process that holds its lock.

    Args:
        out: the folder; made when missing.
        shared: the folder of results and temporary files, where that is not `out`: on a network file system, where a
            ledger would not be safe.

    Attributes:
        warnings: what was repaired on opening.

    Raises:
        UsageError: others may write into the folder.
        EnvironmentFault: it cannot be written.
    """

    def __init__(self, out: Path, shared: Path | None = None) -> None:
        self.out, self.warnings = out, list[str]()
        self.results, self.quarantine, self._temporary = (out / name for name in FOLDERS)
        self.log = out / "alerts.jsonl"
        self._in_progress: dict[bytes, InProgress] = {}
        self._in_progress_bytes = 0
        with durable_io.faults(f"{out}: cannot be used as the output folder"):
            self._make(shared.resolve() if shared else None)
            self._in_progress_file = os.open(
                out / ".inflight", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        self.ledger = self._open()
        with durable_io.faults(f"{out}: cannot be put in order"):
            self._recover()
        self._temporaries, self._token = 0, secrets.token_hex(6)  # names that no other run had, on whatever machine

    def close(self) -> None:
        """Close the ledger and the list of files in progress."""
        self.ledger.close()
        os.close(self._in_progress_file)

    def temporary(self, suffix: str) -> Path:
        """A new name for a file that is not official yet."""
        self._temporaries += 1
        return self._temporary / f"{self._token}.{self._temporaries}{suffix}"

    def renew(self, keep: Collection[str] = ()) -> None:
        """Remove what files that were given up have left, and read from the ledger how long the alert log is.

        Args:
            keep: temporary files of other files in progress; what begins like them stays, too.
        """
        with durable_io.faults(f"{self.out}: cannot be put in order"):
            self._sweep(keep)
        self.log_bytes = int(self.ledger.meta("alerts_bytes") or 0)

    def set_in_progress(self, path: bytes, delivery_id: str = "") -> None:
        """Note that a file is being processed. Not synced: the note has to outlive a killed process, no power cut."""
        self._in_progress[path] = InProgress(path, delivery_id)
        self._write_in_progress()

    def clear_in_progress(self, path: bytes) -> None:
        """Note that a file is not being processed any more."""
        self._in_progress.pop(path, None)
        self._write_in_progress()

    def commit(
        self, fact: Manifest, result: Path, alerts: Path | None, seen: Key, update: OutboxUpdate | None = None
    ) -> None:
        """Make a scored file official.

        Args:
            fact: the manifest, which the ledger stores as well.
            result: the scored rows, synced, under a temporary name.
            alerts: the lines for the alert log, under a temporary name; None where no row is flagged.
            seen: the state in which the file was scored.
            update: the messages about the file, which become official with it; None where there are none.
        """
        manifest = self.temporary(MANIFEST)
        with durable_io.faults(f"{self.out}: the result could not be written"):
            durable_io.create_all(manifest, msgspec.json.encode(fact) + b"\n")
            durable_io.rename(manifest, self.results / (fact.delivery_id + MANIFEST))
            durable_io.rename(result, self.results / fact.result_name)
            durable_io.sync_folder(self.results)
            end = self._append(alerts) if alerts else self.log_bytes
        self.ledger.commit(fact, seen, end, update)
        self.log_bytes = end
        if alerts:
            durable_io.remove(alerts)

    def put_in_quarantine(self, fact: Quarantined, seen: Key, update: OutboxUpdate | None = None) -> None:
        """Make a refused file official: write its reason, then the ledger. Arguments as in `commit`."""
        temporary = self.temporary(REASON)
        with durable_io.faults(f"{self.out}: the reason could not be written"):
            durable_io.create_all(temporary, msgspec.json.format(msgspec.json.encode(fact), indent=1) + b"\n")
            durable_io.rename(temporary, self.quarantine / (fact.delivery_id + REASON))
            durable_io.sync_folder(self.quarantine)
        self.ledger.commit(fact, seen, self.log_bytes, update)

    # --- opening

    def _make(self, shared: Path | None) -> None:
        durable_io.make_folder(self.out)
        found = self.out.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise UsageError(f"{self.out}: others may write into this output folder; chmod go-w it, or name another.")
        if shared:
            for folder in (self.results, self._temporary):
                durable_io.make_folder(shared / folder.name)
                durable_io.link_folder(folder, shared / folder.name)
        for folder in (self.results, self.quarantine, self._temporary):
            durable_io.make_folder(folder)
        self._temporary = self._temporary.resolve()  # other processes write there, wherever they stand

    def _open(self) -> Ledger:
        path = self.out / "ledger.sqlite"
        try:
            ledger = Ledger(path)
        except Damaged as error:
            self.warnings.append(f"the ledger was damaged ({error}) and put aside")
            self._put_aside(path)
            ledger = Ledger(path)
        if ledger.meta("whole") is None:  # it is new, or a rebuild was cut off
            if adopted := ledger_rebuild.rebuild(self.out, ledger):
                self.warnings.append(f"the ledger was rebuilt from {adopted:,} results and reasons")
            ledger.set_meta("whole", "yes")
        return ledger

    def _put_aside(self, path: Path) -> None:
        number = 1 + sum(1 for _ in self.out.glob("ledger.corrupt-*"))
        for suffix in ("", "-wal", "-shm"):
            if path.with_name(path.name + suffix).exists():
                durable_io.rename(path.with_name(path.name + suffix), self.out / f"ledger.corrupt-{number}{suffix}")

    def _recover(self) -> None:
        """Undo what a killed run has left unofficial, and count its files as suspects."""
        self._sweep(())
        self.log_bytes = int(self.ledger.meta("alerts_bytes") or 0)
        size = self.log.stat().st_size if self.log.exists() else 0
        if size > self.log_bytes or not self.log.exists():
            durable_io.write_at(self.log, min(size, self.log_bytes), iter(()))
        if size < self.log_bytes:
            self.warnings.append("alerts.jsonl is shorter than it was (rotated?); it goes on from where it ends")
            self.log_bytes = size
            self.ledger.set_meta("alerts_bytes", str(size))
        interrupted = self._read_in_progress()
        for one in interrupted:
            if not self.ledger.has(one.delivery_id):
                self.ledger.suspect(one.path)
                if one.delivery_id:
                    self._remove_unofficial(one.delivery_id)
        if interrupted:
            self._write_in_progress()

    def _remove_unofficial(self, delivery_id: str) -> None:
        for suffix in (*suffixes(), MANIFEST):
            durable_io.remove(self.results / (delivery_id + suffix))
        durable_io.remove(self.quarantine / (delivery_id + REASON))

    # --- the temporary folder, the list of files in progress, the log

    def _sweep(self, keep: Collection[str]) -> None:
        with os.scandir(self._temporary) as entries:
            for entry in entries:
                if not entry.path.startswith(tuple(keep)):
                    durable_io.remove(Path(entry.path))

    def _read_in_progress(self) -> list[InProgress]:
        """Files that a killed run has left in progress, one a line; the first write covers them all."""
        self._in_progress_bytes = os.fstat(self._in_progress_file).st_size
        found = []
        for line in os.pread(self._in_progress_file, self._in_progress_bytes, 0).splitlines():
            with suppress(msgspec.DecodeError):
                found.append(msgspec.json.decode(line, type=InProgress))
        return found

    def _write_in_progress(self) -> None:
        """Write in place and never shorten: a file that shrinks and grows would need the file system's journal."""
        data = b"\n".join(map(msgspec.json.encode, self._in_progress.values()))
        self._in_progress_bytes = max(self._in_progress_bytes, IN_PROGRESS_BYTES, len(data))
        with durable_io.faults(f"{self.out}: cannot be written"):
            durable_io.hook("mark", self.out, data)
            os.pwrite(self._in_progress_file, data.ljust(self._in_progress_bytes), 0)

    def _append(self, alerts: Path) -> int:
        """Write lines at the end of the log; a log that was rotated away begins again."""
        size = self.log.stat().st_size if self.log.exists() else 0
        with alerts.open("rb") as lines:
            return durable_io.write_at(
                self.log, min(size, self.log_bytes), iter(lambda: lines.read(durable_io.CHUNK), b"")
            )


def delivery_id(path: bytes, sha256: str) -> str:
    """The name of a content under a path, so that processing it again gives the same name."""
    return hashlib.sha256(path + b"\0" + sha256.encode()).hexdigest()[:32]


def path_text(path: bytes) -> str:
    """A path as text that any JSON reader takes; bytes that are no UTF-8 appear escaped."""
    return path.decode("utf-8", "backslashreplace")
