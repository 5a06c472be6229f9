"""The ledger: which deliveries were processed, and how each ended. A delivery is one content under one path.

A row of the table `delivery` is final; only `retry` takes a quarantined one back. Manifests and reason files hold the
same facts, so that a lost ledger can be rebuilt from them (ledger_rebuild.py). The tables are defined in database.py.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from anomvae.errors import UsageError
from anomvae.folder.database import Database
from anomvae.folder.outbox import Outbox, OutboxUpdate
from anomvae.model.counters import CounterState
from anomvae.records.folder import Manifest, Quarantined
from anomvae.records.results import REMEMBERED, Evidence, evidence

Key = tuple[int, int, int, int, int]  # the state of a file: device, inode, size, times of modification and change

STATES = ("committed", "quarantined")
ENTRY = (
    "SELECT delivery_id, path, sha256, size, state, base_rows, continues, coalesce(lines, 0),"
    " coalesce(rows_total, 0), counters FROM delivery"
)


class Entry(msgspec.Struct, frozen=True):
    """One delivery in the ledger, as far as it matters for later ones.

    Attributes:
        delivery_id, path, sha256, size: what identifies it: its path below the input folder, and its content.
        state: `committed` or `quarantined`.
        base_rows: rows of earlier versions of the file before its own first row.
        continues: whether a grown version of the file may be scored from its new rows on.
        lines: physical lines of the file.
        rows_total: rows that were read.
        counters: the state of the counters behind the file.
    """

    delivery_id: str
    path: bytes
    sha256: str
    size: int
    state: str
    base_rows: int
    continues: bool
    lines: int
    rows_total: int
    counters: CounterState = {}


class Ledger:
    """An open ledger.

    Args:
        path: the database file; made when missing.
        read_only: whether it is only read, while another process may be writing.

    Attributes:
        outbox: the messages that are to be sent, in the same database.

    Raises:
        EnvironmentFault: it cannot be opened, or was written by a newer anomvae.
        Damaged: it is no healthy database.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if read_only and not path.is_file():
            raise UsageError(f"{path.parent}: holds no ledger; name the output folder of 'watch' or 'score FOLDER'.")
        self._db = Database(path, read_only=read_only)
        self.outbox = Outbox(self._db)

    def close(self) -> None:
        """Close; what was committed stays."""
        self._db.close()

    # --- runs and settings of the whole folder

    def begin_run(self, mode: str, now: str, pid: int, version: str, model_id: str) -> int:
        """Note that a run began.

        Args:
            mode: `watch` or `score`.
            now: the time of day, in ISO 8601.
            pid: the process.
            version: of anomvae.
            model_id: the model in use.

        Returns:
            The number of the run.
        """
        with self._db.transaction():
            row = "INSERT INTO run(mode, started_utc, pid, version, model_id) VALUES (?, ?, ?, ?, ?)"
            return int(self._db.execute(row, (mode, now, pid, version, model_id)).lastrowid or 0)

    def end_run(self, run: int, now: str) -> None:
        """Note that a run ended by itself."""
        with self._db.transaction():
            self._db.execute("UPDATE run SET ended_utc = ?, clean = 1 WHERE run_id = ?", (now, run))

    def last_run(self) -> dict[str, Any] | None:
        """The newest run, by column."""
        rows = self._db.rows("SELECT * FROM run ORDER BY run_id DESC LIMIT 1")
        return dict(rows[0]) if rows else None

    def last_end(self) -> str | None:
        """When a run last ended by itself, in ISO 8601; None where none did."""
        ended: str | None = self._db.rows("SELECT max(ended_utc) FROM run WHERE clean = 1")[0][0]
        return ended

    def meta(self, key: str) -> str | None:
        """A value that belongs to the folder as a whole; None where it is not set."""
        rows = self._db.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def set_meta(self, key: str, value: str) -> None:
        """Store a value that belongs to the folder as a whole."""
        with self._db.transaction():
            self._set_meta(key, value)

    def version(self) -> int:
        """A number that changes when another process has written."""
        return int(self._db.rows("PRAGMA data_version")[0][0])

    # --- deliveries

    def find(self, path: bytes, sha256: str) -> Entry | None:
        """The delivery of this content under this path; None where there is none."""
        return next(iter(self._entries("WHERE path = ? AND sha256 = ?", (path, sha256))), None)

    def named(self, prefix: str) -> list[Entry]:
        """Deliveries whose id begins with a prefix, three at most."""
        like = prefix.replace("\\", "").replace("%", "").replace("_", "") + "%"
        return self._entries("WHERE delivery_id LIKE ? LIMIT 3", (like,))

    def last_committed(self, path: bytes) -> Entry | None:
        """The newest committed delivery of a path, which a grown file may continue."""
        newest = "WHERE path = ? AND state = 'committed' ORDER BY sequence DESC LIMIT 1"
        return next(iter(self._entries(newest, (path,))), None)

    def generations(self, path: bytes) -> int:
        """How many different contents were processed under a path."""
        return int(self._db.rows("SELECT count(*) FROM delivery WHERE path = ?", (path,))[0][0])

    def next_sequence(self) -> int:
        """The number of the next delivery."""
        return int(self._db.rows("SELECT coalesce(max(sequence), 0) + 1 FROM delivery")[0][0])

    def has(self, delivery_id: str) -> bool:
        """Whether a delivery is known."""
        return bool(self._db.rows("SELECT 1 FROM delivery WHERE delivery_id = ?", (delivery_id,)))

    def ids(self) -> set[str]:
        """Every delivery's id."""
        return {row[0] for row in self._db.rows("SELECT delivery_id FROM delivery")}

    def evidence(self, model_id: str, alpha: float) -> list[Evidence]:
        """What the newest files of a model and alpha leave for the drift of the next one, the oldest first."""
        query = "SELECT told FROM evidence WHERE model_id = ? AND alpha = ? ORDER BY sequence"
        return [msgspec.json.decode(row[0], type=Evidence) for row in self._db.rows(query, (model_id, alpha))]

    def commit(
        self,
        fact: Manifest | Quarantined,
        seen: Key | None,
        log_bytes: int,
        update: OutboxUpdate | None = None,
    ) -> None:
        """Make a delivery official in one transaction.

        Args:
            fact: what became of the delivery.
            seen: the state of the file that was processed, to be remembered for its path; None where it is not known.
            log_bytes: the length of the alert log, its lines for this delivery included.
            update: the messages about it and the topics after it; None where nothing is to be sent.
        """
        path = fact.path()
        with self._db.transaction():
            columns = _columns(fact)
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            self._db.execute(f"INSERT INTO delivery({names}) VALUES ({marks})", tuple(columns.values()))
            self._set_meta("alerts_bytes", str(log_bytes))
            self._db.execute("DELETE FROM suspect WHERE path = ?", (path,))
            if isinstance(fact, Manifest):
                self._insert_evidence(fact)
            if seen is not None:
                self._see(path, seen)
            if update is not None:
                self.outbox.add(update)

    def retract(self, delivery_id: str) -> None:
        """Forget a quarantined delivery, so that its file is processed again."""
        with self._db.transaction():
            path = "(SELECT path FROM delivery WHERE delivery_id = ?)"
            self._db.execute(f"DELETE FROM seen WHERE path = {path}", (delivery_id,))
            self._db.execute(f"DELETE FROM suspect WHERE path = {path}", (delivery_id,))
            gone = "DELETE FROM delivery WHERE delivery_id = ? AND state = 'quarantined'"
            self._db.execute(gone, (delivery_id,))

    # --- states of files, suspects

    def seen(self) -> dict[bytes, int]:
        """A hash of the state in which the file of every path was processed."""
        rows = self._db.each("SELECT path, dev, ino, size, mtime_ns, ctime_ns FROM seen")
        return {row[0]: hash(tuple(row[1:])) for row in rows}

    def see(self, states: Iterable[tuple[bytes, Key]]) -> None:
        """Remember the states in which files were processed; losing them only costs reading the files again."""
        with self._db.transaction():
            for path, key in states:
                self._see(path, key)

    def forget(self, paths: Iterable[bytes]) -> None:
        """Drop the states of paths that are gone."""
        with self._db.transaction():
            self._db.executemany("DELETE FROM seen WHERE path = ?", ((path,) for path in paths))

    def suspect(self, path: bytes) -> int:
        """Count that a run died, or failed, over a path; returns how often that has happened."""
        add = "INSERT INTO suspect VALUES (?, 1) ON CONFLICT(path) DO UPDATE SET crashes = crashes + 1"
        with self._db.transaction():
            self._db.execute(add, (path,))
        return self.crashes(path)

    def crashes(self, path: bytes) -> int:
        """How often runs died over a path since it was last processed."""
        rows = self._db.rows("SELECT crashes FROM suspect WHERE path = ?", (path,))
        return int(rows[0][0]) if rows else 0

    # --- after the commit

    def pending_moves(self) -> list[Entry]:
        """Deliveries whose file is still to be moved out of the input folder."""
        return self._entries("WHERE after_state = 'pending' ORDER BY sequence")

    def moved(self, delivery_id: str, state: str) -> None:
        """Note how a move ended: `moved`, or `gone` where the file had left by itself."""
        with self._db.transaction():
            self._db.execute("UPDATE delivery SET after_state = ? WHERE delivery_id = ?", (state, delivery_id))

    # --- for status

    def totals(self) -> dict[str, int]:
        """Sums over all deliveries."""
        sums = (
            "count(*) FILTER (WHERE state = 'committed') AS files",
            "count(*) FILTER (WHERE state = 'quarantined') AS quarantined",
            *(f"coalesce(sum(rows_{name}), 0) AS {name}" for name in ("total", "scored", "rejected", "flagged")),
            "coalesce(sum(rows_critical), 0) AS critical",
            *(f"count(*) FILTER (WHERE verdict = '{verdict}') AS {verdict}" for verdict in ("anomalous", "drifted")),
        )
        return dict(self._db.rows(f"SELECT {', '.join(sums)} FROM delivery")[0])

    def newest(self, state: str, most: int) -> list[dict[str, Any]]:
        """The newest deliveries of a state, the newest first, by column."""
        query = "SELECT * FROM delivery WHERE state = ? ORDER BY sequence DESC LIMIT ?"
        return [dict(row) for row in self._db.rows(query, (state, most))]

    def refused_since_committed(self) -> tuple[int, str]:
        """How many deliveries were refused since the last one that was scored, and when that was (empty: never)."""
        last = "(SELECT coalesce(max(sequence), 0) FROM delivery WHERE state = 'committed')"
        query = (
            f"SELECT (SELECT count(*) FROM delivery WHERE state = 'quarantined' AND sequence > {last}), "
            f"(SELECT committed_utc FROM delivery WHERE sequence = {last})"
        )
        ((refused, at),) = self._db.rows(query)
        return int(refused), at or ""

    def deliveries(self) -> Iterator[dict[str, Any]]:
        """Every delivery in order, by column."""
        return (dict(row) for row in self._db.each("SELECT * FROM delivery ORDER BY sequence"))

    def periods(self, since: str, width: int) -> dict[str, dict[str, Any]]:
        """Sums over the deliveries of each period since a time.

        Args:
            since: the time, in ISO 8601.
            width: how many characters of a time name its period, such as 10 for days.

        Returns:
            For every period with deliveries, by those characters: the sums by name, and `models`, the ids of the
            models in the order of their first file there.
        """
        sums = ", ".join(
            f"coalesce(sum(rows_{name}), 0) AS {name}" for name in ("total", "scored", "flagged", "critical")
        )
        counted = [*(("state", state) for state in STATES), ("verdict", "drifted")]
        counts = ", ".join(f"count(*) FILTER (WHERE {column} = '{value}') AS {value}" for column, value in counted)
        recent = "SELECT *, substr(committed_utc, 1, ?) AS at FROM delivery WHERE committed_utc >= ?"
        query = f"SELECT at, {counts}, {sums} FROM ({recent}) GROUP BY at ORDER BY at"
        found: dict[str, dict[str, Any]] = {
            row["at"]: {**dict(row), "models": []} for row in self._db.rows(query, (width, since))
        }
        used = f"SELECT at, model_id FROM ({recent}) GROUP BY at, model_id ORDER BY min(sequence)"
        for at, model in self._db.rows(used, (width, since)):
            if at in found:  # another process may have committed in between
                found[at]["models"].append(model)
        return found

    # --- inside

    def _entries(self, where: str, values: tuple[Any, ...] = ()) -> list[Entry]:
        return [_entry(tuple(row)) for row in self._db.rows(f"{ENTRY} {where}", values)]

    def _insert_evidence(self, fact: Manifest) -> None:
        """Keep the evidence of drift of the newest files; with another model or alpha, the sequence begins anew."""
        alpha, found = fact.result.alpha, evidence(fact.result)
        self._db.execute("DELETE FROM evidence WHERE model_id <> ? OR alpha <> ?", (fact.model_id, alpha))
        if found is not None:
            encoded = msgspec.json.encode(found).decode()
            self._db.execute("INSERT INTO evidence VALUES (?, ?, ?, ?)", (fact.sequence, fact.model_id, alpha, encoded))
            newest = "SELECT sequence FROM evidence ORDER BY sequence DESC LIMIT ?"
            self._db.execute(f"DELETE FROM evidence WHERE sequence NOT IN ({newest})", (REMEMBERED,))

    def _see(self, path: bytes, key: Key) -> None:
        self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)", (path, *key))

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _entry(row: tuple[Any, ...]) -> Entry:
    """A row of `ENTRY` as a record."""
    found = dict(zip(Entry.__struct_fields__, row, strict=True))
    counters = msgspec.json.decode(found["counters"], type=CounterState)
    return Entry(**{**found, "continues": bool(found["continues"]), "counters": counters})


def _columns(fact: Manifest | Quarantined) -> dict[str, Any]:
    """A fact as a row of `delivery`."""
    common = {
        "sequence": fact.sequence,
        "delivery_id": fact.delivery_id,
        "path": fact.path(),
        "sha256": fact.sha256,
        "size": fact.size,
        "after_state": "pending" if fact.move else None,
        "model_id": fact.model_id,
        "committed_utc": fact.committed_utc,
    }
    if isinstance(fact, Quarantined):
        return {**common, "state": "quarantined", "reason_code": fact.reason_code, "message": fact.message}
    result = fact.result
    return common | {
        "state": "committed",
        "parent_id": fact.parent_id,
        "base_rows": fact.base_rows,
        "continues": int(fact.continues),
        "lines": fact.lines,
        "counters": msgspec.json.encode(fact.counters).decode(),
        "rows_total": result.rows,
        "rows_scored": result.scored,
        "rows_rejected": result.rejected,
        "rows_flagged": result.flagged,
        "rows_critical": result.critical,
        "alpha": result.alpha,
        "verdict": result.verdict,
        "top": result.blame[0].column if result.blame else None,
        "result_name": fact.result_name,
        "result_sha256": fact.result_sha256,
    }
