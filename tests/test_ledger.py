"""The ledger: what it says of deliveries, runs, paths and evidence, on a real file."""

import base64
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anomvae.errors import UsageError
from anomvae.folder import database
from anomvae.folder.ledger import Entry, Ledger
from anomvae.folder.outbox import OutboxUpdate, Topic
from anomvae.records.folder import Manifest, Quarantined
from anomvae.records.results import REMEMBERED, ColumnBlame, ColumnDrift, Drift
from tests.test_outlets import manifest, refused

KEY = (1, 2, 3, 4, 5)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def good(number: int, path: bytes = b"a.csv", **changes: Any) -> Manifest:
    """A committed delivery of 10 rows, 8 of them scored; the id is its number."""
    told = {name: changes.pop(name) for name in [*changes] if name not in Manifest.__struct_fields__}
    result = msgspec.structs.replace(manifest("a").result, **{"rows": 10, "scored": 8, "rejected": 2, **told})
    where = base64.b64encode(path).decode()
    kept = {"sequence": number, "delivery_id": f"{number:032x}", "sha256": f"sha{number}", "path_base64": where}
    return msgspec.structs.replace(manifest("a"), result=result, **{**kept, **changes})


def bad(number: int, path: bytes = b"a.csv", **changes: Any) -> Quarantined:
    where = base64.b64encode(path).decode()
    kept = {"sequence": number, "delivery_id": f"{number:032x}", "sha256": f"sha{number}", "path_base64": where}
    return msgspec.structs.replace(refused("a"), **{**kept, **changes})


def put(ledger: Ledger, *facts: Manifest | Quarantined) -> None:
    for fact in facts:
        ledger.commit(fact, None, 0)


def ids(entries: list[Entry]) -> list[int]:
    return [int(entry.delivery_id, 16) for entry in entries]


def test_a_delivery_is_found_by_its_path_and_content_together(ledger: Ledger) -> None:
    put(ledger, good(1, b"a", base_rows=7, lines=31, continues=True, size=99), bad(2, b"b"))
    assert ledger.find(b"a", "sha1") == Entry(f"{1:032x}", b"a", "sha1", 99, "committed", 7, True, 31, 10)
    assert ledger.find(b"b", "sha2") == Entry(f"{2:032x}", b"b", "sha2", 1, "quarantined", 0, False, 0, 0)
    assert ledger.find(b"a", "sha2") is None
    assert ledger.find(b"b", "sha1") is None


def test_a_delivery_is_named_by_the_start_of_its_id_and_no_pattern(ledger: Ledger) -> None:
    first, second = "ab" + "0" * 30, "ac" + "0" * 30
    put(ledger, good(1, delivery_id=first), bad(2, delivery_id=second))
    put(ledger, *(good(number, delivery_id="e" * 31 + str(number)) for number in (5, 6, 7, 8)))
    assert [entry.delivery_id for entry in ledger.named("ab")] == [first]
    assert [entry.delivery_id for entry in ledger.named("a")] == [first, second]
    assert ledger.named("b") == []
    for pattern in ("_", "%", "\\"):
        assert [entry.delivery_id for entry in ledger.named(f"{pattern}ac")] == [second]
        assert ledger.named(f"{pattern}c") == []
    assert len(ledger.named("e")) == 3  # more than one is enough to say that it is not clear


def test_a_grown_file_continues_the_newest_committed_version(ledger: Ledger) -> None:
    put(ledger, good(3, b"a"), good(7, b"a"), bad(8, b"a"), good(9, b"b"), good(5, b"a"))
    last = ledger.last_committed(b"a")
    assert last is not None
    assert ids([last]) == [7]
    assert ledger.last_committed(b"c") is None
    assert ledger.generations(b"a") == 4
    assert ledger.generations(b"c") == 0


def test_deliveries_are_numbered_on_from_the_highest(ledger: Ledger) -> None:
    assert ledger.next_sequence() == 1
    put(ledger, good(4), bad(2, b"b"))
    assert ledger.next_sequence() == 5
    assert ledger.ids() == {f"{4:032x}", f"{2:032x}"}
    assert ledger.has(f"{4:032x}")
    assert not ledger.has(f"{5:032x}")


def test_a_commit_brings_all_that_belongs_to_it_or_nothing(ledger: Ledger, tmp_path: Path) -> None:
    ledger.suspect(b"a.csv")
    update = OutboxUpdate(at=1.0, messages=(), topics={"row": Topic(1.0, 2)})
    ledger.commit(good(1), KEY, 77, update)
    look = Ledger(tmp_path / "ledger.sqlite", read_only=True)
    assert look.has(f"{1:032x}")
    assert look.meta("alerts_bytes") == "77"
    assert look.crashes(b"a.csv") == 0
    assert look.seen() == {b"a.csv": hash(KEY)}
    assert look.outbox.topics()["row"] == Topic(1.0, 2)
    look.close()
    with pytest.raises(sqlite3.IntegrityError):  # the last statement of the transaction fails
        topics = {"row": Topic(1.0, None)}  # type: ignore[arg-type]
        ledger.commit(good(2, b"b"), KEY, 99, OutboxUpdate(at=1.0, messages=(), topics=topics))
    assert not ledger.has(f"{2:032x}")
    assert ledger.meta("alerts_bytes") == "77"
    assert b"b" not in ledger.seen()


def test_a_judged_path_that_is_not_to_be_remembered_is_not(ledger: Ledger) -> None:
    put(ledger, good(1))
    assert ledger.seen() == {}


def test_retry_takes_a_quarantined_delivery_back_and_nothing_else(ledger: Ledger) -> None:
    ledger.commit(bad(1, b"b"), KEY, 0)
    ledger.commit(good(2, b"g"), KEY, 0)
    ledger.suspect(b"b")
    ledger.suspect(b"g")
    ledger.retract(f"{1:032x}")
    assert ledger.ids() == {f"{2:032x}"}
    assert ledger.seen() == {b"g": hash(KEY)}
    assert (ledger.crashes(b"b"), ledger.crashes(b"g")) == (0, 1)
    ledger.retract(f"{2:032x}")
    assert ledger.ids() == {f"{2:032x}"}


def test_a_suspect_is_counted_until_it_is_judged(ledger: Ledger) -> None:
    assert ledger.crashes(b"a.csv") == 0
    assert [ledger.suspect(b"a.csv") for _ in range(3)] == [1, 2, 3]
    assert ledger.suspect(b"b.csv") == 1
    put(ledger, good(1))
    assert (ledger.crashes(b"a.csv"), ledger.crashes(b"b.csv")) == (0, 1)


def test_states_of_paths_are_remembered_anew_and_forgotten(ledger: Ledger) -> None:
    ledger.see([(b"a", KEY), (b"b", KEY)])
    ledger.see([(b"a", (9, 9, 9, 9, 9))])
    assert ledger.seen() == {b"a": hash((9, 9, 9, 9, 9)), b"b": hash(KEY)}
    ledger.forget([b"a", b"c"])
    assert ledger.seen() == {b"b": hash(KEY)}


def test_a_file_that_is_to_move_is_pending_until_it_has(ledger: Ledger) -> None:
    put(ledger, good(5, b"c", move=True), good(2, b"a", move=True), good(3, b"b"), bad(1, b"d", move=True))
    assert ids(ledger.pending_moves()) == [1, 2, 5]
    ledger.moved(f"{2:032x}", "moved")
    ledger.moved(f"{5:032x}", "gone")
    assert ids(ledger.pending_moves()) == [1]


def test_a_run_is_clean_when_it_left_through_the_front_door(ledger: Ledger) -> None:
    assert ledger.last_run() is None
    assert ledger.last_end() is None
    first = ledger.begin_run("watch", "t1", 11, "0.1", "m")
    second = ledger.begin_run("score", "t2", 12, "0.1", "m")
    ledger.end_run(first, "t3")
    last = ledger.last_run()
    assert last is not None
    assert (last["run_id"], last["pid"], last["mode"], last["clean"], last["ended_utc"]) == (
        second,
        12,
        "score",
        0,
        None,
    )
    assert ledger.last_end() == "t3"
    ledger.end_run(second, "t4")
    assert ledger.last_end() == "t4"


def test_settings_of_the_folder_are_kept_and_replaced(ledger: Ledger) -> None:
    assert ledger.meta("a") is None
    ledger.set_meta("a", "1")
    ledger.set_meta("a", "2")
    ledger.set_meta("b", "3")
    assert (ledger.meta("a"), ledger.meta("b")) == ("2", "3")


def test_another_process_that_writes_is_noticed(ledger: Ledger, tmp_path: Path) -> None:
    before = ledger.version()
    ledger.set_meta("a", "1")
    assert ledger.version() == before
    other = Ledger(tmp_path / "ledger.sqlite")
    other.set_meta("a", "2")
    other.close()
    assert ledger.version() != before


def test_totals_are_sums_over_all_deliveries(ledger: Ledger) -> None:
    empty = ledger.totals()
    assert set(empty.values()) == {0}
    put(
        ledger,
        good(1, b"a", flagged=3, critical=1, verdict="anomalous"),
        good(2, b"b", flagged=4, critical=2, verdict="drifted"),
        good(3, b"c", flagged=0, critical=0, verdict="drifted"),
        bad(4, b"d"),
    )
    assert ledger.totals() == {
        **{"files": 3, "quarantined": 1, "total": 30, "scored": 24, "rejected": 6, "flagged": 7, "critical": 3},
        **{"anomalous": 1, "drifted": 2},
    }


def test_the_newest_of_a_state_come_newest_first(ledger: Ledger) -> None:
    blame = (ColumnBlame(column="amount", rows=1),)
    put(ledger, good(2, b"a", blame=blame), good(9, b"b"), bad(7, b"c", reason_code="why"), good(4, b"d"))
    newest = ledger.newest("committed", 2)
    assert [row["sequence"] for row in newest] == [9, 4]
    assert [row["top"] for row in ledger.newest("committed", 9)] == [None, None, "amount"]
    (refused_one,) = ledger.newest("quarantined", 9)
    assert (refused_one["sequence"], refused_one["reason_code"], refused_one["message"]) == (7, "why", "a")
    assert [row["sequence"] for row in ledger.deliveries()] == [2, 4, 7, 9]


def test_a_committed_delivery_keeps_what_its_manifest_says(ledger: Ledger) -> None:
    put(ledger, good(1, b"a", parent_id="p", result_name="n", result_sha256="s", model_id="k", alpha=0.02))
    (row,) = ledger.deliveries()
    told = ("parent_id", "result_name", "result_sha256", "model_id", "alpha", "verdict", "committed_utc")
    assert [row[name] for name in told] == ["p", "n", "s", "k", 0.02, "ok", "2026-11-25T03:14:40+00:00"]


def test_a_period_begins_with_the_moment_it_is_asked_from(ledger: Ledger) -> None:
    put(
        ledger,
        *(good(n, committed_utc=f"2026-11-25T0{n}:00:00+00:00", model_id=name) for n, name in ((1, "x"), (2, "y"))),
    )
    found = ledger.periods("2026-11-25T02:00:00+00:00", 10)
    assert {at: (one["committed"], one["models"]) for at, one in found.items()} == {"2026-11-25": (1, ["y"])}
    assert ledger.periods("2026-11-25T02:00:01+00:00", 10) == {}


def drift(*, alone: bool = False) -> Drift:
    column = ColumnDrift(column="a", z=0.0, p=1.0, counts=(1, 2))
    score = ColumnDrift(column="score", z=0.0, p=1.0, counts=(3,))
    return Drift(p=1.0, files=1, alone=alone, told=(), columns=(column,), score=score)


def leave(ledger: Ledger, number: int, *, alone: bool = False, model: str = "m", alpha: float = 0.01) -> None:
    fact = good(number, flagged=number, drift=drift(alone=alone), alpha=alpha)
    put(ledger, msgspec.structs.replace(fact, model_id=model))


def test_the_newest_files_leave_their_evidence_the_oldest_first(ledger: Ledger) -> None:
    for number in range(1, REMEMBERED + 4):
        leave(ledger, number, alone=number == 5)
    found = ledger.evidence("m", 0.01)
    assert [one.flagged for one in found] == [number for number in range(3, REMEMBERED + 4) if number != 5]
    assert {(one.rows, one.counts) for one in found} == {(8, ((1, 2), (3,)))}


@pytest.mark.parametrize(("model", "alpha"), [("other", 0.01), ("m", 0.05)])
def test_with_another_model_or_alpha_evidence_begins_anew(ledger: Ledger, model: str, alpha: float) -> None:
    leave(ledger, 1)
    leave(ledger, 2)
    assert ledger.evidence(model, alpha) == []
    leave(ledger, 3, model=model, alpha=alpha)
    assert [one.flagged for one in ledger.evidence(model, alpha)] == [3]
    assert ledger.evidence("m", 0.01) == []


def test_looking_at_a_folder_without_a_ledger_makes_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no ledger"):
        Ledger(tmp_path / "ledger.sqlite", read_only=True)
    assert not [*tmp_path.iterdir()]


def test_a_ledger_with_the_tables_of_before_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(path)
    for migration in database.MIGRATIONS[:3]:
        db.executescript(migration)
    row = "INSERT INTO delivery(sequence, delivery_id, path, generation, sha256, size, state, reason_code, model_id,"
    db.execute(f"{row} committed_utc) VALUES (4, 'd', x'61', 3, 's', 1, 'quarantined', 'why', 'm', 't')")
    db.execute("INSERT INTO alert VALUES ('d', 2, 1.0, 1.0, 0, 'x')")
    db.execute("PRAGMA user_version = 3")
    db.commit()
    db.close()
    ledger = Ledger(path)
    assert ledger.find(b"a", "s") == Entry("d", b"a", "s", 1, "quarantined", 0, False, 0, 0)
    put(ledger, good(5, b"b"))
    assert ledger.ids() == {"d", f"{5:032x}"}
    assert not ledger._db.rows("SELECT 1 FROM sqlite_master WHERE name = 'alert'")
    ledger.close()
