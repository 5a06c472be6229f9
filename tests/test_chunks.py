"""Long Parquet files in chunks: whoever scores them, the same bytes and the same record as in one go."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.config import ScoreSettings
from anomvae.errors import DataError
from anomvae.model.detector import Detector
from anomvae.records.results import RowResult
from anomvae.scoring import file
from anomvae.scoring.batch import Chunk, ScoredChunk, score_chunk
from anomvae.scoring.file import FileScorer
from anomvae.scoring.summary import FileSummary
from anomvae.store import model_file
from anomvae.table import reader
from tests import bad_inputs

NAMES = bad_inputs.HEADER.split(",")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return model_file.load(str(bad_inputs.model(tmp_path_factory.mktemp("model"))), generator=False)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 16 rows, chunks of two."""
    monkeypatch.setattr(reader, "BATCH_ROWS", 16)
    monkeypatch.setattr(file, "CHUNK_CELLS", 2 * 16 * len(NAMES))
    monkeypatch.setattr(file, "LONG_ROWS", 1)


def arrow(rows: int, bad: dict[int, str] | None = None, seed: int = 3) -> Any:
    """A good table as Arrow, numbers as numbers where all are; `bad` amounts by row."""
    cells = [list(column) for column in zip(*bad_inputs.cells(rows, seed), strict=True)]
    columns: dict[str, Any] = dict(zip(NAMES, cells, strict=True))
    for row, text in (bad or {}).items():
        columns["amount"][row] = text
    columns["count"] = pa.array([int(text) if i % 50 else None for i, text in enumerate(columns["count"], 1)])
    columns["country"] = pa.array(columns["country"]).dictionary_encode()
    columns["express"] = pa.array([text == "true" for text in columns["express"]])
    if not bad:
        columns["amount"] = [float(text) for text in columns["amount"]]
    return pa.table(columns)


def elsewhere(detector: Detector, asked: list[int]) -> Any:
    """Scores chunks behind a border that only bytes cross."""

    def score_chunks(chunks: Iterator[Chunk]) -> Iterator[ScoredChunk]:
        for one in chunks:
            asked.append(one.line)
            there = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Chunk)
            yield msgspec.msgpack.decode(msgspec.msgpack.encode(score_chunk(there, detector)), type=ScoredChunk)

    return score_chunks


def scored(
    path: Path, detector: Detector, suffix: str, emit: Any, chunk_scorer: Any = None
) -> tuple[bytes, FileSummary, list[RowResult]]:
    out, flagged = io.BytesIO(), list[RowResult]()
    chosen = ScoreSettings(threads=1, emit=emit, alpha=0.1)
    with path.open("rb") as file:
        scorer = FileScorer(
            path.name, detector, chosen, lambda name, rows: None,
            opened=file, on_flagged=flagged.append, chunk_scorer=chunk_scorer,
        )  # fmt: skip
        summary = scorer.score(out, "out", suffix)
    return out.getvalue(), msgspec.structs.replace(summary, seconds=0), flagged


@pytest.mark.parametrize("emit", ["all", "flagged"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_chunks_give_the_bytes_and_the_record_of_the_whole_file(
    detector: Detector, tmp_path: Path, suffix: str, emit: str
) -> None:
    path, asked = tmp_path / "a.parquet", list[int]()
    pq.write_table(arrow(300, {5: "9999", 40: "many", 41: "x", 170: "few"}), path, row_group_size=70)
    whole = scored(path, detector, suffix, emit)
    assert scored(path, detector, suffix, emit, elsewhere(detector, asked)) == whole
    assert asked == list(range(2, 302, 32))
    assert (whole[1].rows, whole[1].rejected) == (300, 3)
    assert [bad.line for bad in whole[1].rejects] == [42, 43, 172]
    assert 0 < whole[1].flagged == len(whole[2]) < 300


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 120), group=st.integers(1, 130), bad=st.sets(st.integers(0, 119), max_size=20))
def test_row_groups_of_any_length_give_the_same(
    detector: Detector, tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, bad: set[int]
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.parquet"
    pq.write_table(arrow(rows, {row: "none" for row in bad if row < rows}), path, row_group_size=group)
    found = []
    for chunk_scorer in (None, elsewhere(detector, [])):
        try:
            found.append(scored(path, detector, ".csv", "all", chunk_scorer))
        except DataError as error:
            found.append((error.code, error.message, error.line))
    assert found[0] == found[1]


def test_short_files_and_text_are_scored_here(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()
    monkeypatch.setattr(file, "LONG_ROWS", 100)
    pq.write_table(arrow(99), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text(bad_inputs.text(300))
    for name in ("a.parquet", "b.csv"):
        scored(tmp_path / name, detector, ".csv", "all", elsewhere(detector, asked))
    assert asked == []
    pq.write_table(arrow(100), tmp_path / "a.parquet")
    scored(tmp_path / "a.parquet", detector, ".csv", "all", elsewhere(detector, asked))
    assert len(asked) == 4


def test_damage_further_in_is_told_with_the_same_line(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(arrow(300), path, row_group_size=100, compression="zstd")
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(2).column(1).data_page_offset
    data[at : at + 200] = np.random.default_rng(0).bytes(200)
    path.write_bytes(data)
    errors = []
    for chunk_scorer in (None, elsewhere(detector, [])):
        with pytest.raises(DataError) as refused:
            scored(path, detector, ".csv", "all", chunk_scorer)
        errors.append((refused.value.code, refused.value.message, refused.value.line))
    assert errors[0] == errors[1]
    assert errors[0][0] == "bad_parquet"


def test_values_never_seen_beyond_the_thousandth_are_not_told_apart_anywhere(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomvae.scoring import summary

    monkeypatch.setattr(summary, "UNSEEN", 20)
    table = arrow(200)
    odd = pa.array([f"place {i % 60}" for i in range(200)])
    path = tmp_path / "a.parquet"
    pq.write_table(table.set_column(3, "country", odd), path, row_group_size=64)
    whole = scored(path, detector, ".csv", "all")
    assert scored(path, detector, ".csv", "all", elsewhere(detector, [])) == whole
    assert any("unseen_category" in warning for warning in whole[1].warnings)
