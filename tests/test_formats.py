"""The list of output formats: one that is added there is known wherever rows are written, and wherever they are left."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from anomvae import formats
from anomvae.folder.output_folder import OutputFolder
from anomvae.formats import CsvWriter, OutputColumn, OutputRows, TableWriter, open_writer, output_suffix, suffixes
from anomvae.table.writer import ScoredRows, scored_columns
from tests.conftest import SAMPLE


class TsvWriter(CsvWriter):
    """A format that the program does not have."""

    def __init__(self, file: io.BytesIO, columns: list[OutputColumn], delimiter: str = ",") -> None:
        super().__init__(file, columns, "\t")


ADD = """
import sys
from anomvae import formats
class TsvWriter(formats.CsvWriter):
    def __init__(self, file, columns, delimiter=","):
        super().__init__(file, columns, "\\t")
formats.FORMATS["tsv"] = TsvWriter  # before any other module of the program is loaded
from anomvae.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """The program with one format more."""
    return subprocess.run([sys.executable, "-c", ADD, *argv], capture_output=True, text=True, check=False)


def test_an_added_format_is_known_to_the_options_and_the_settings(orders_model: Path, tmp_path: Path) -> None:
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    (inbox / "a.csv").write_bytes((SAMPLE / "incoming" / "2026-11-10.csv").read_bytes())
    command = ["score", str(inbox), "-m", str(orders_model), "-o", str(out), "--settle", "0.1s", "--fail-on", "never"]
    done = run(*command, "--format", "tsv")
    assert done.returncode == 0, done.stderr
    (result,) = (out / "results").glob("*.tsv")
    assert "\t_av_line\t_av_score\t" in result.read_text().splitlines()[0]
    refused = run(*command, "--format", "xls")
    assert refused.returncode == 2
    assert "tsv" in refused.stderr


def test_an_added_format_is_known_to_the_configuration_file(orders_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    config = tmp_path / "anomvae.toml"
    argv = ["score", str(tmp_path / "in"), "-m", str(orders_model), "-o", str(tmp_path / "out"), "-c", str(config)]
    config.write_text('[watch]\nformat = "tsv"\n')
    assert run(*argv).returncode == 0
    config.write_text('[watch]\nformat = "xls"\n')
    refused = run(*argv)
    assert refused.returncode == 2
    assert "must be one of 'csv', 'jsonl', 'parquet', 'tsv'" in refused.stderr


def test_an_added_format_is_known_to_score_and_generate(orders_model: Path, tmp_path: Path) -> None:
    table = str(SAMPLE / "incoming" / "2026-11-10.csv")
    for argv in (["generate", "-n", "3"], ["score", table, "--fail-on", "never"]):
        out = tmp_path / f"{argv[0]}.tsv"
        done = run(*argv, "-m", str(orders_model), "-o", str(out))
        assert done.returncode == 0, done.stderr
        assert out.read_text().count("\t") > 3
        refused = run(*argv, "-m", str(orders_model), "-o", str(tmp_path / "a.xls"))
        assert refused.returncode == 2
        assert ".csv, .jsonl, .parquet or .tsv" in refused.stderr


def test_what_a_killed_run_has_left_in_an_added_format_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(formats.FORMATS, "tsv", TsvWriter)
    store = OutputFolder(tmp_path / "out")
    store.set_in_progress(b"a.csv", "1" * 32)
    left = [store.results / ("1" * 32 + suffix) for suffix in suffixes()]
    for path in left:
        path.touch()
    store.close()  # without unmark: as after a kill
    OutputFolder(tmp_path / "out").close()
    assert ".tsv" in {path.suffix for path in left}
    assert not any(path.exists() for path in left)


class Rows:
    """Two rows of every type but reasons."""

    def __len__(self) -> int:
        return 2

    def texts(self, unsplit: str = "") -> list[list[str]]:
        return [["=a", "1", "0.5", "true", "2026-01-02"], ["", "", "", "", ""]]

    def values(self) -> list[list[object]]:
        return [["=a", 1, 0.5, True, "2026-01-02"], [None] * 5]

    def columns(self) -> list[list[object]]:
        return [["=a", None], [1, None], [0.5, None], [True, None], [1_767_312_000_000_000, None]]


COLUMNS = [
    OutputColumn("t", "text", guarded=True),
    OutputColumn("i", "integer"),
    OutputColumn("n", "number"),
    OutputColumn("b", "boolean"),
    OutputColumn("d", "datetime"),
]


def written(suffix: str, rows: OutputRows, columns: list[OutputColumn]) -> bytes:
    file = io.BytesIO()
    writer: TableWriter = open_writer(file, suffix, columns)
    writer.write(rows)
    writer.close()
    return file.getvalue()


def test_text_formats_write_what_the_rows_are() -> None:
    assert written(".csv", Rows(), COLUMNS) == b"t,i,n,b,d\n'=a,1,0.5,true,2026-01-02\n,,,,\n"
    lines = written(".jsonl", Rows(), COLUMNS).splitlines()
    assert lines[0] == b'{"t":"=a","i":1,"n":0.5,"b":true,"d":"2026-01-02"}'
    assert lines[1] == b'{"t":null,"i":null,"n":null,"b":null,"d":null}'


def test_parquet_has_the_types_of_the_columns() -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(written(".parquet", Rows(), COLUMNS)))
    assert [str(kind) for kind in table.schema.types] == ["string", "int64", "double", "bool", "timestamp[us]"]
    assert table.column("d").to_pylist()[0].isoformat() == "2026-01-02T00:00:00"
    assert table.column("n").to_pylist() == [0.5, None]


@pytest.mark.parametrize("suffix", suffixes())
def test_a_table_without_rows_is_written(suffix: str) -> None:
    written(suffix, ScoredRows([], [], [], [], {}), scored_columns(["a"]))


def test_formats_that_can_be_read_again_are_some_of_all() -> None:
    assert suffixes(readable=True) == (".csv", ".parquet")
    assert suffixes() == (".csv", ".jsonl", ".parquet")
    assert output_suffix("a/b.jsonl") == ".jsonl"
