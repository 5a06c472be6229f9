"""status --since: what the ledger says of the last days or hours."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.cli import main
from anomvae.folder.ledger import Ledger
from anomvae.folder.status import history_of
from anomvae.records.folder import Period, StatusResult
from anomvae.report.folder import SPARKS, history_lines, spark
from tests.test_folder_report import drawn
from tests.test_outlets import manifest, refused

NOW = datetime(2026, 11, 25, 14, 30, 12, tzinfo=UTC)


def fill(path: Path, *facts: tuple[datetime, str, int]) -> Ledger:
    """A ledger of deliveries: when, by which model ("": refused), flagged rows of 100."""
    ledger = Ledger(path)
    for i, (at, model, flagged) in enumerate(facts):
        changes = {"sequence": i + 1, "delivery_id": f"{i:032x}", "sha256": f"{i}", "committed_utc": at.isoformat()}
        if not model:
            ledger.commit(msgspec.structs.replace(refused("r"), **changes), None, 0)
            continue
        one = manifest("a")
        result = msgspec.structs.replace(one.result, rows=110, scored=100, rejected=10, flagged=flagged)
        ledger.commit(msgspec.structs.replace(one, result=result, model_id=model, **changes), None, 0)
    return ledger


def test_days_are_summed_with_those_in_which_nothing_came(tmp_path: Path) -> None:
    ago = lambda days: NOW - timedelta(days=days)  # noqa: E731
    ledger = fill(
        tmp_path / "l", (ago(9), "old", 1), (ago(3), "old", 1), (ago(3), "old", 3), (ago(3), "", 0), (ago(1), "new", 50),
        (ago(1), "old", 0),
    )  # fmt: skip
    found = history_of(ledger, NOW, 4 * 86400)
    assert [one.at for one in found] == [f"2026-11-{day}" for day in (21, 22, 23, 24, 25)]
    assert [one.files for one in found] == [0, 2, 0, 2, 0]
    second, fourth = found[1], found[3]
    assert (second.quarantined, second.rows, second.scored, second.flagged) == (1, 220, 200, 4)
    assert (second.flag_rate, second.models) == (0.02, ("old", "m"))
    assert (fourth.flag_rate, fourth.models) == (0.25, ("new", "old"))
    assert found[0].flag_rate is None
    ledger.close()


def test_up_to_two_days_are_told_by_the_hour(tmp_path: Path) -> None:
    ledger = fill(tmp_path / "l", (NOW - timedelta(hours=2), "m", 1), (NOW - timedelta(minutes=31), "m", 2))
    found = history_of(ledger, NOW, 2 * 3600)
    assert [(one.at, one.flagged) for one in found] == [
        ("2026-11-25T12:00", 1), ("2026-11-25T13:00", 2), ("2026-11-25T14:00", 0),
    ]  # fmt: skip
    assert len(history_of(ledger, NOW, 48 * 3600)) == 49
    assert len(history_of(ledger, NOW, 49 * 3600)) == 3
    ledger.close()


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.booleans(), st.integers(0, 100)), max_size=12), st.integers(1, 10**6)
)
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost_or_counted_twice(facts: list[tuple[int, bool, int]], since: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        told = ((NOW - timedelta(seconds=s), "m" * ok, n) for s, ok, n in facts)
        ledger = fill(Path(name) / "l", *told)
        found = history_of(ledger, NOW, since)
        ledger.close()
    begin = datetime.fromisoformat(found[0].at).replace(tzinfo=UTC)
    assert begin <= NOW - timedelta(seconds=since)
    inside = [(ok, n) for s, ok, n in facts if NOW - timedelta(seconds=s) >= begin]
    assert sum(one.files for one in found) == sum(ok for ok, _ in inside)
    assert sum(one.quarantined for one in found) == sum(not ok for ok, _ in inside)
    assert sum(one.flagged for one in found) == sum(n for ok, n in inside if ok)


def test_the_picture_shows_gaps_rates_and_a_change_of_model() -> None:
    day = Period(
        at="2026-11-21",
        files=2,
        drifted=0,
        quarantined=0,
        rows=100,
        scored=100,
        flagged=1,
        critical=0,
        flag_rate=0.01,
        models=("old" * 9,),
    )
    none = msgspec.structs.replace(
        day, at="2026-11-22", files=0, rows=0, scored=0, flagged=0, flag_rate=None, models=()
    )
    bad = msgspec.structs.replace(day, at="2026-11-23", files=4, flagged=30, flag_rate=0.3, models=("new" * 9,))
    text = "".join(drawn(line, 80) for line in history_lines((day, none, bad), 0.01))
    assert "files      ▅ █  top 4" in text
    assert "flag rate  ▁ █  top 30.0 %" in text
    assert "model newnewnewnew after oldoldoldold at 2026-11-23" in text
    assert "30.00 %" in text
    assert history_lines((), 0.01) == []


@given(st.floats(0, 2))
def test_a_spark_is_a_spark(share: float) -> None:
    assert spark(share) in SPARKS


def test_status_tells_history_when_it_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "ledger.sqlite", (datetime.now(UTC), "m", 7)).close()
    main(["status", str(tmp_path), "--since", "7d", "--json"])
    result = msgspec.json.decode(capsys.readouterr().out, type=StatusResult)
    assert len(result.history) == 8
    assert result.history[-1].flagged == 7
    main(["status", str(tmp_path), "--since", "7d"])
    assert "flag rate  " in capsys.readouterr().out
    main(["status", str(tmp_path), "--json"])
    assert msgspec.json.decode(capsys.readouterr().out, type=StatusResult).history == ()
    assert main(["status", str(tmp_path), "--since", "soon"]) == 2
