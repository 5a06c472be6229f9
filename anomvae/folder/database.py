"""The SQLite database of the ledger: its tables, its settings, and its errors.

The journal mode is WAL with synchronous FULL, since with NORMAL a power cut may undo a commit that others have acted
on. Every setting is read back, because SQLite silently ignores what it cannot do.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anomvae import durable_io
from anomvae.errors import EnvironmentFault

APPLICATION = 1095652940  # 'ANVL'
BUSY_SECONDS = 10.0  # for which a statement waits for another process

# Append-only: a migration that was released is never edited, the next one is added.
MIGRATIONS = (
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE run(
      run_id INTEGER PRIMARY KEY,
      mode TEXT NOT NULL CHECK(mode IN ('watch', 'score')),
      started_utc TEXT NOT NULL, ended_utc TEXT, pid INTEGER NOT NULL, version TEXT NOT NULL, model_id TEXT NOT NULL,
      clean INTEGER NOT NULL DEFAULT 0 CHECK(clean IN (0, 1))) STRICT;
    CREATE TABLE delivery(
      sequence INTEGER PRIMARY KEY,
      delivery_id TEXT NOT NULL UNIQUE,
      path BLOB NOT NULL,
      generation INTEGER NOT NULL,
      sha256 TEXT NOT NULL, size INTEGER NOT NULL CHECK(size >= 0),
      state TEXT NOT NULL CHECK(state IN ('committed', 'quarantined')),
      parent_id TEXT, base_rows INTEGER NOT NULL DEFAULT 0,
      continues INTEGER NOT NULL DEFAULT 0 CHECK(continues IN (0, 1)), lines INTEGER,
      rows_total INTEGER, rows_scored INTEGER, rows_rejected INTEGER, rows_flagged INTEGER, rows_critical INTEGER,
      alpha REAL, verdict TEXT, top TEXT, result_name TEXT, result_sha256 TEXT, reason_code TEXT, message TEXT,
      after_state TEXT CHECK(after_state IN ('pending', 'moved', 'gone')),
      model_id TEXT NOT NULL, committed_utc TEXT NOT NULL,
      UNIQUE(path, sha256),
      CHECK(state <> 'committed' OR (result_name IS NOT NULL AND rows_total IS NOT NULL
        AND rows_scored IS NOT NULL AND rows_rejected IS NOT NULL AND rows_total = rows_scored + rows_rejected)),
      CHECK(state <> 'quarantined' OR reason_code IS NOT NULL)) STRICT;
    CREATE TABLE alert(
      delivery_id TEXT NOT NULL REFERENCES delivery(delivery_id), line INTEGER NOT NULL,
      score REAL NOT NULL, severity REAL NOT NULL, critical INTEGER NOT NULL, top TEXT,
      PRIMARY KEY(delivery_id, line)) STRICT, WITHOUT ROWID;
    CREATE TABLE suspect(path BLOB PRIMARY KEY, crashes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE seen(
      path BLOB PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL,
      mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE evidence(
      sequence INTEGER PRIMARY KEY, model_id TEXT NOT NULL, alpha REAL NOT NULL, told TEXT NOT NULL) STRICT;
    """,
    """
    CREATE TABLE outbox(
      letter_id INTEGER PRIMARY KEY, outlet TEXT NOT NULL, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
      created REAL NOT NULL, next_try REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
      error TEXT NOT NULL DEFAULT '', given_up REAL) STRICT;
    CREATE INDEX outbox_next ON outbox(outlet, next_try) WHERE given_up IS NULL;
    CREATE TABLE topic(name TEXT PRIMARY KEY, told REAL NOT NULL, more INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    DROP TABLE alert;
    ALTER TABLE delivery DROP COLUMN generation;
    """,
    """
    ALTER TABLE delivery ADD COLUMN counters TEXT NOT NULL DEFAULT '{}';
    """,
)


class Damaged(EnvironmentFault):
    """The database is damaged; the next start puts it aside and rebuilds the ledger."""

    code = "ledger_damaged"


class Database:
    """An open database.

    Args:
        path: the file; made when missing, unless it is opened for reading only.
        read_only: whether it is only read, while another process may be writing.

    Raises:
        EnvironmentFault: it cannot be opened, or was written by a newer anomvae.
        Damaged: it is no healthy database.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        with _faults(path):
            address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        self._db.row_factory = sqlite3.Row
        try:
            with _faults(path):
                self._check()
                if not read_only:
                    self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close; what was committed stays."""
        with suppress(sqlite3.Error):
            self._db.close()

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a statement inside a transaction."""
        return self._db.execute(statement, values)

    def executemany(self, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
        """Run a statement for every row, inside a transaction."""
        self._db.executemany(statement, rows)

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        return list(self.each(query, values))

    def each(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[sqlite3.Row]:
        """The rows of a query, one by one."""
        with _faults(self.path):
            yield from self._db.execute(query, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction: either everything in the block is written, and on the disk when it ends, or nothing."""
        with _faults(self.path):
            durable_io.hook("begin", self.path)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                durable_io.hook("commit", self.path)
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            durable_io.hook("committed", self.path)

    def _check(self) -> None:
        if self._db.execute("PRAGMA application_id").fetchone()[0] not in (0, APPLICATION):
            raise Damaged(f"{self.path}: is a database of another program")
        if self._db.execute("PRAGMA user_version").fetchone()[0] > len(MIGRATIONS):
            raise EnvironmentFault(
                f"{self.path}: was written by a newer anomvae; upgrade, or name another output folder."
            )
        if (found := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise Damaged(f"{self.path}: {found}")

    def _prepare(self) -> None:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("trusted_schema", 0)):
            self._db.execute(f"PRAGMA {pragma} = {value}")
            got = self._db.execute(f"PRAGMA {pragma}").fetchone()[0]
            if got != value:
                raise EnvironmentFault(f"{self.path}: {pragma} is {got}, not {value}; put the output on a local disk.")
        self._db.execute("PRAGMA journal_size_limit = 4194304")
        self._db.execute("PRAGMA cache_size = -512")  # KiB; the system has the rest of the pages, and memory stays flat
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            with self.transaction():
                for statement in migration.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION}")
                self._db.execute(f"PRAGMA user_version = {number}")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as what they mean: a damaged file, or a fault of the machine."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise Damaged(f"{path}: {error}") from error
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        fault = EnvironmentFault(f"{path}: {error}.")
        fault.code = "disk_full" if name.startswith("SQLITE_FULL") else "ledger"
        raise fault from error
