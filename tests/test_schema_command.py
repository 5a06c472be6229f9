"""`anomvae schema`, the same table at `fit` and `inspect`, and what the estimator says of columns that it leaves out."""

import csv
import io
import json
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomvae import AnomVAE
from anomvae.cli import main
from anomvae.config import ColumnSettings, SchemaSettings, column_toml, read_config
from anomvae.model.column_writing import settings_of
from anomvae.model.infer_column import declared, infer
from anomvae.model.schema import parse
from anomvae.model.stated_columns import with_stated
from anomvae.report.schema import LOUD
from tests.test_architecture import loaded

Captured = pytest.CaptureFixture[str]
ROWS = 240
QUICK = ("--steps", "10", "--no-generator", "--no-selftest", "-q")
RNG = np.random.default_rng(5)
UNITS = [f"{value:,.2f}" for value in RNG.lognormal(7, 1, ROWS)]
COLUMNS = {  # by hand: what each of them is stands in `FOUND`
    "amount": [f"(${text})" if i % 7 == 0 else f"${text}" for i, text in enumerate(UNITS)],
    "price": [f"{int(value)},{int(100 * value) % 100:02d} EUR" for value in RNG.uniform(1, 90, ROWS)],
    "at": [f"2026-03-{1 + i % 28:02d} {i % 24:02d}:15:00+00" for i in range(ROWS)],
    "day": [f"{a:02d}/{b:02d}/2026" for a, b in RNG.integers(1, 13, (ROWS, 2))],
    "temp": ["-999" if i % 20 == 3 else f"{value:.1f}" for i, value in enumerate(RNG.normal(20, 2, ROWS))],
    "level": ["<0.05" if i % 9 == 0 else f"{value:.2f}" for i, value in enumerate(RNG.uniform(0.06, 3, ROWS))],
    "cost": [f"{'$' if i % 30 == 4 else '€'}{value:.2f}" for i, value in enumerate(RNG.uniform(10, 20, ROWS))],
    "size": ["see note" if i == 100 else str(value) for i, value in enumerate(RNG.integers(1000, 9999, ROWS))],
    "gap": ["#N/A" if i % 6 == 0 else str(value) for i, value in enumerate(RNG.integers(1000, 9999, ROWS))],
    "meter": [str(value) for value in 40_000 + np.cumsum(RNG.integers(0, 30, ROWS))],
    "paid": ["yes" if value else "no" for value in RNG.integers(0, 2, ROWS)],
    "shop": [str(value) for value in RNG.choice(["north", "south"], ROWS)],
    "note": [f"call back {i}, please" for i in range(ROWS)],
    "ref": [f"R{i:05d}" for i in range(ROWS)],
    "empty": [""] * ROWS,
}
FOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "amount": ("numeric", {"digits": 2, "thousands": ",", "prefix": "$", "negative": "parentheses"}),
    "price": ("numeric", {"digits": 2, "decimal": ",", "suffix": " EUR"}),
    "at": ("datetime", {"formats": ["iso"], "zone": "+00"}),
    "day": ("datetime", {"dates": ["DD/MM/YYYY", "MM/DD/YYYY"]}),
    "temp": ("numeric", {"digits": 1, "sentinels": ["-999"]}),
    "level": ("numeric", {"digits": 2, "limits": ["<"]}),
    "cost": ("numeric", {"prefix": "€", "units": ["$"]}),
    "size": ("integer", {"decimal": "."}),
    "gap": ("integer", {"gaps": ["#N/A"]}),
    "meter": ("counter", {"decimal": "."}),
    "paid": ("boolean", {"words": ["yes", "no"]}),
    "shop": ("categorical", {}),
    "note": ("ignore", {}),
    "ref": ("ignore", {}),
    "empty": ("ignore", {}),
}


def written(folder: Path, columns: dict[str, list[str]] | None = None, delimiter: str = ",") -> str:
    text = io.StringIO()
    out = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    columns = COLUMNS if columns is None else columns
    out.writerow(columns)
    out.writerows(zip(*columns.values(), strict=True))
    (folder / "train.csv").write_text(text.getvalue(), encoding="utf-8")
    return str(folder / "train.csv")


def asked(capsys: Captured, *argv: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*argv, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in found["columns"]}


def test_every_column_is_told_with_its_kind_and_its_writing(tmp_path: Path, capsys: Captured) -> None:
    found = asked(capsys, "schema", written(tmp_path))
    assert (found["schema"], found["rows"], found["rows_rejected"]) == ("anomvae.schema/1", ROWS, 1)
    assert list(by_name(found)) == list(COLUMNS)
    for name, column in by_name(found).items():
        kind, writing = FOUND[name]
        assert column["kind"] == kind, name
        assert {key: column["writing"].get(key) for key in writing} == writing, name
        assert column["modelled"] == (kind != "ignore")


def test_two_different_cells_are_shown_of_every_column(tmp_path: Path, capsys: Captured) -> None:
    columns = by_name(asked(capsys, "schema", written(tmp_path)))
    assert columns["shop"]["examples"] == list(dict.fromkeys(COLUMNS["shop"]))
    assert columns["gap"]["examples"] == COLUMNS["gap"][1:3]  # the first cell is a gap
    assert columns["note"]["examples"] == COLUMNS["note"][:2]
    assert columns["empty"]["examples"] == []


def test_what_does_not_fit_is_told_with_its_share_its_line_and_its_text(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path)
    misfits = by_name(asked(capsys, "schema", path))["size"]["misfits"]
    assert (misfits["cells"], misfits["file"], misfits["line"], misfits["cell"]) == (1, path, 102, "see note")
    assert misfits["share"] == pytest.approx(1 / 240)


def test_what_could_be_misread_is_told_loudly(tmp_path: Path, capsys: Captured) -> None:
    told = asked(capsys, "schema", written(tmp_path))["warnings"]
    found = {(one["code"], one["column"]): one for one in told if one["code"] in LOUD}
    assert list(found) == [("open_dates", "day"), ("sentinels", "temp"), ("mixed_units", "cost")]
    assert found["sentinels", "temp"]["value"] == "-999"
    assert found["sentinels", "temp"]["count"] == COLUMNS["temp"].count("-999") == 12
    assert found["mixed_units", "cost"]["count"] == 8
    assert found["open_dates", "day"]["value"] == "DD/MM/YYYY or MM/DD/YYYY"


@pytest.mark.parametrize(("wrong", "code"), [(2, ""), (3, "rows_lost"), (24, "rows_lost"), (25, "rows_refused")])
def test_more_lost_rows_than_one_in_a_hundred_are_told_loudly(
    wrong: int, code: str, tmp_path: Path, capsys: Captured
) -> None:
    spoilt = [f"x{i}" if i < wrong else cell for i, cell in enumerate(COLUMNS["size"])]
    spoilt[100] = "5000"
    kind = '[schema.columns.size]\nkind = "integer"\n'
    (tmp_path / "c.toml").write_text(kind, encoding="utf-8")
    path = written(tmp_path, {"size": spoilt, "shop": COLUMNS["shop"]})
    found = asked(capsys, "schema", path, "-c", str(tmp_path / "c.toml"))
    lost = [one for one in found["warnings"] if one["code"].startswith("rows_")]
    assert [one["code"] for one in lost] == ([code] if code else [])
    assert [(one["count"], one["total"]) for one in lost] == ([(wrong, 240)] if code else [])


def test_what_is_left_out_stands_first_and_the_lines_of_toml_keep_it(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path)
    assert main(["schema", path, "--drop", "shop"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    first = next(i for i, line in enumerate(lines) if "LEFT OUT" in line)
    assert lines[first] == "! 3 of 15 columns are LEFT OUT of the model:"
    table = next(i for i, line in enumerate(lines) if line.startswith("column"))
    for name in ("note", "ref", "empty"):
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{name}:"))
        assert first < at < table
    assert any(line == "left out as asked: shop (dropped (--drop))" for line in lines[:table])
    kept = "\n".join(line.strip() for line in lines if line.startswith("      [") or line.startswith("      kind"))
    assert kept == '[schema.columns.note]\nkind = "categorical"\n[schema.columns.ref]\nkind = "categorical"'
    (tmp_path / "c.toml").write_text(kept, encoding="utf-8")
    columns = by_name(asked(capsys, "schema", path, "-c", str(tmp_path / "c.toml")))
    assert [columns[name]["kind"] for name in ("note", "ref")] == ["categorical", "categorical"]


@pytest.mark.parametrize("width", ["80", "120"])
def test_nothing_is_cut(width: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("NO_COLOR", "1")
    long = "a_name_of_a_column_that_no_table_has_the_room_for"
    columns = COLUMNS | {long: COLUMNS["gap"]}
    assert main(["schema", written(tmp_path, columns)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= int(width)
    assert "…" not in out
    assert "\x1b" not in out
    joined = "".join(line[:20].strip() for line in out.splitlines())  # the column of names, whose long ones are wrapped
    assert long in joined
    written_as = " ".join(line[34:] for line in out.splitlines() if line.startswith(" " * 20))
    assert "parentheses" in out
    assert "train.csv:102" in out.replace(" ", "").replace("\n", "")
    assert written_as


def test_cells_and_names_can_do_no_harm(tmp_path: Path, capsys: Captured) -> None:
    evil = "\x1b[31mred\u202e\x07"
    columns = {evil: COLUMNS["gap"], "n": [f"{evil} \n {i}" for i in range(ROWS)], "shop": COLUMNS["shop"]}
    assert main(["schema", written(tmp_path, columns), "-o", str(tmp_path / "c.toml")]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\u202e", "\x07"} & set(out)
    assert evil in tomllib.loads((tmp_path / "c.toml").read_text(encoding="utf-8"))["schema"]["columns"]


def test_quiet_is_silent(tmp_path: Path, capsys: Captured) -> None:
    assert main(["schema", written(tmp_path), "-q"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_file_that_may_have_been_edited_is_not_replaced(tmp_path: Path, capsys: Captured) -> None:
    path, target = written(tmp_path), tmp_path / "c.toml"
    target.write_text("# mine\n")
    assert main(["schema", path, "-o", str(target)]) == 2
    assert "add --force" in capsys.readouterr().err
    assert target.read_text() == "# mine\n"
    assert main(["schema", path, "-o", str(target), "--force", "-q"]) == 0
    assert list(read_config(target).schema.columns) == ["note", "ref", "empty", *list(COLUMNS)[:-3]]


def test_the_file_spells_out_every_choice(tmp_path: Path) -> None:
    path, target = written(tmp_path, delimiter=";"), tmp_path / "c.toml"
    argv = ["--delimiter", ";", "--drop", "shop", "--id", "ref", "--label", "paid", "--normal", "yes"]
    assert main(["schema", path, *argv, "-o", str(target), "-q"]) == 0
    config = read_config(target)
    assert config.train == (path,)
    assert (config.schema.drop, config.schema.id) == (("shop",), ("ref",))
    assert (config.fit.delimiter, config.fit.label, config.fit.normal) == (";", "paid", "yes")
    assert "shop" not in config.schema.columns
    columns = config.schema.columns
    assert columns["amount"] == ColumnSettings(
        kind="numeric", decimal=".", thousands=",", prefix="$", negative="parentheses"
    )
    assert (columns["price"].decimal, columns["price"].thousands, columns["price"].suffix) == (",", "", " EUR")
    assert columns["temp"].gaps == ("-999",)
    assert columns["at"] == ColumnSettings(kind="datetime", format="iso")
    assert columns["day"] == ColumnSettings(kind="datetime")  # both orders are open; each stands there as a comment
    text = target.read_text(encoding="utf-8")
    assert '# format = "%d/%m/%Y"\n# format = "%m/%d/%Y"\n' in text
    assert columns["note"] == ColumnSettings(kind="ignore")
    assert "# LEFT OUT: free text: " in text


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--drop", "shop", "--id", "ref", "--where", "paid == yes")])
def test_fit_makes_the_same_model_with_the_file_as_without(more: tuple[str, ...], tmp_path: Path) -> None:
    path, config = written(tmp_path), str(tmp_path / "c.toml")
    made = [str(tmp_path / name) for name in ("without.anomvae", "with.anomvae")]
    assert main(["schema", path, *more, "-o", config, "-q"]) == 0
    assert main(["fit", path, *more, "-o", made[0], *QUICK]) == 0
    assert main(["fit", "-c", config, "-o", made[1], *QUICK]) == 0
    assert Path(made[0]).read_bytes() == Path(made[1]).read_bytes()


@pytest.mark.slow
def test_a_file_made_with_another_makes_the_same_model(tmp_path: Path) -> None:
    own, config = tmp_path / "own.toml", str(tmp_path / "c.toml")
    own.write_text(
        '[schema]\nredact = ["temp"]\n[schema.columns.size]\nkind = "categorical"\n'
        '[schema.columns.day]\nkind = "datetime"\nformat = "MM/DD/YYYY"\n[fit]\nalpha = 0.02\n',
        encoding="utf-8",
    )
    path, made = written(tmp_path), [str(tmp_path / name) for name in ("a.anomvae", "b.anomvae")]
    assert main(["schema", path, "-c", str(own), "-o", config, "-q"]) == 0
    assert main(["fit", path, "-c", str(own), "-o", made[0], *QUICK]) == 0
    assert main(["fit", "-c", config, "-o", made[1], *QUICK]) == 0
    assert Path(made[0]).read_bytes() == Path(made[1]).read_bytes()


@pytest.mark.slow
def test_fit_and_inspect_tell_the_same_of_columns(tmp_path: Path, capsys: Captured) -> None:
    path, model = written(tmp_path), str(tmp_path / "m.anomvae")
    told = by_name(asked(capsys, "schema", path))
    fitted = asked(capsys, "fit", path, "-o", model, *QUICK[:-1])
    inspected = by_name(asked(capsys, "inspect", model))
    for name, column in by_name(fitted).items():
        same = ("kind", "modelled", "reason", "code", "writing", "keep")
        assert {key: column[key] for key in same} == {key: told[name][key] for key in same}
        assert {key: inspected[name][key] for key in same} == {key: told[name][key] for key in same}
        assert (column["examples"], column["misfits"]) == (told[name]["examples"], told[name]["misfits"])
        assert inspected[name]["examples"] == []  # a model file has no cell of such columns
    assert {"open_dates", "sentinels", "mixed_units"} <= {one["code"] for one in fitted["warnings"]}
    assert main(["inspect", model]) == 0
    out = capsys.readouterr().out
    assert out.index("LEFT OUT") < out.index("column ")
    assert "[schema.columns.note]" in out


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[schema.columns.amout]\nkind = "numeric"', "column 'amout'"),
        ('[schema.columns.amout]\nkind = "numeric"', "did you mean 'amount'?"),
        ('[schema]\ndrop = ["shops"]', "did you mean 'shop'?"),
        ('[schema.columns.amount]\nkind = "numeric"\nformat = "%d"', "'format' does not go with kind 'numeric'"),
        ('[schema.columns.shop]\nkind = "categorical"\ngaps = ["-"]', "'gaps' does not go with kind 'categorical'"),
        ('[schema.columns.at]\nkind = "datetime"\ndecimal = ","', "'decimal' does not go with kind 'datetime'"),
        ('[schema.columns.at]\nkind = "datetime"\nformat = "%Q"', "[schema.columns.at] format:"),
        ('[schema.columns.at]\nkind = "datetime"\nformat = "day"', "[schema.columns.at] format:"),
        ('[schema.columns.at]\nkind = "date"', "kind"),
        ('[schema.columns.at]\nkindd = "datetime"', "kind"),
    ],
)
@pytest.mark.parametrize("command", ["schema", "fit"])
def test_what_is_stated_wrongly_is_one_line(
    command: str, toml: str, said: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "c.toml").write_text(toml, encoding="utf-8")
    model = [] if command == "schema" else ["-o", str(tmp_path / "m.anomvae")]
    assert main([command, written(tmp_path), "-c", str(tmp_path / "c.toml"), *model]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "m.anomvae").exists()


def test_a_change_of_the_file_is_a_change_of_the_column(tmp_path: Path, capsys: Captured) -> None:
    path, target = written(tmp_path), tmp_path / "c.toml"
    assert main(["schema", path, "-o", str(target), "-q"]) == 0
    text = target.read_text(encoding="utf-8").replace('# format = "%m/%d/%Y"', 'format = "%m/%d/%Y"')
    target.write_text(text.replace('gaps = ["-999"]', "gaps = []"), encoding="utf-8")
    found = asked(capsys, "schema", path, "-c", str(target))
    columns = by_name(found)
    assert columns["day"]["writing"]["formats"] == ["%m/%d/%Y"]
    assert columns["temp"]["writing"].get("sentinels", []) == []
    assert columns["temp"]["reason"] == "by configuration"
    assert {one["code"] for one in found["warnings"]} & LOUD == {"mixed_units"}


def test_a_counter_stays_a_number_where_the_user_says_so(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "c.toml").write_text('[schema.columns.meter]\nkind = "integer"\ndecimal = "."\nthousands = ""\n')
    found = by_name(asked(capsys, "schema", written(tmp_path), "-c", str(tmp_path / "c.toml")))["meter"]
    assert (found["kind"], found["reason"]) == ("integer", "by configuration")


def test_where_nothing_can_be_modelled_the_exit_code_is_3(tmp_path: Path, capsys: Captured) -> None:
    path = written(tmp_path, {"note": COLUMNS["note"], "empty": COLUMNS["empty"]})
    found = asked(capsys, "schema", path, code=3)
    assert [column["modelled"] for column in found["columns"]] == [False, False]
    assert main(["schema", path, "-q"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "no column can be modelled" in err


def test_no_cell_of_a_masked_column_is_shown(tmp_path: Path, capsys: Captured) -> None:
    secret = {
        "name": [f"Q7{i:03d}x" for i in range(ROWS)],
        "pay": ["see Q7" if i == 9 else "7.31" for i in range(ROWS)],
    }
    secret |= {"band": ["Q7low" if i % 2 else "Q7high" for i in range(ROWS)], "shop": COLUMNS["shop"]}
    (tmp_path / "c.toml").write_text('[schema]\nredact = ["name", "pay", "band"]\n', encoding="utf-8")
    argv = ["schema", written(tmp_path, secret), "-c", str(tmp_path / "c.toml")]
    assert main([*argv, "-o", str(tmp_path / "out.toml")]) == 0
    assert main([*argv, "--json"]) == 0
    shown = capsys.readouterr().out + (tmp_path / "out.toml").read_text(encoding="utf-8")
    assert "Q7" not in shown
    assert "7.31" not in shown
    assert read_config(tmp_path / "out.toml").schema.redact == ("name", "pay", "band")


def test_schema_loads_no_torch(tmp_path: Path) -> None:
    assert not {"torch", "sklearn", "scipy.stats"} & loaded("schema", written(tmp_path))


def test_the_tables_of_the_commands_fit_a_pipe(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "anomvae", "schema", written(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "…" not in done.stdout


names = st.text(st.characters(codec="utf-8"), max_size=12)


@given(names, st.lists(names, max_size=3), names, st.sampled_from([".", ","]))
def test_any_name_and_any_text_survives_the_file(name: str, gaps: list[str], prefix: str, decimal: str) -> None:
    stated = ColumnSettings(kind="numeric", gaps=tuple(gaps), prefix=prefix, decimal=decimal)  # type: ignore[arg-type]
    read = tomllib.loads(column_toml(name, stated))
    assert list(read) == ["schema"]
    (found,) = read["schema"]["columns"].items()
    assert found[0] == name
    assert (tuple(found[1].get("gaps", ())), found[1]["prefix"], found[1]["decimal"]) == (stated.gaps, prefix, decimal)


@pytest.mark.parametrize("name", [name for name, (kind, _) in FOUND.items() if kind != "ignore"])
def test_the_settings_of_a_column_are_enough_to_read_it(name: str) -> None:
    texts = COLUMNS[name]
    found = infer(name, texts).column
    stated = settings_of(found)
    assert with_stated([found], lambda _: texts, SchemaSettings(columns={name: stated}), list) == [found]
    again = declared(name, stated, texts).column
    for column in (found, again):
        assert set(parse(column, texts).errors) == ({100} if name == "size" else set())
    assert np.array_equal(parse(found, texts).values, parse(again, texts).values, equal_nan=found.kind != "categorical")


def frame() -> pd.DataFrame:
    return pd.DataFrame({name: COLUMNS[name] for name in ("amount", "temp", "shop", "note", "empty")})


def caught(**parameters: Any) -> tuple[AnomVAE, list[str]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = AnomVAE(steps=10, random_state=0, **parameters).fit(frame())
    return fitted, [str(one.message) for one in seen if one.category is UserWarning]


def test_the_estimator_warns_once_of_what_it_leaves_out() -> None:
    _, said = caught()
    assert said == [
        "'note' (free text: 240 different values in 240 rows), 'empty' (no values) are left out of the model; "
        "schema={'note': 'categorical'} keeps it, drop=['note', 'empty'] agrees."
    ]


def test_the_estimator_does_as_it_is_told() -> None:
    fitted, said = caught(drop=["empty"], id="note")
    assert said == []
    assert list(fitted.detector_.columns) == ["amount", "temp", "shop"]
    kept, said = caught(schema={"note": "categorical", "temp": {"kind": "numeric", "gaps": ("-999",)}}, drop=("empty",))
    assert said == []
    assert list(kept.detector_.columns) == ["amount", "temp", "shop", "note"]


def test_the_estimator_reads_the_file_that_schema_writes(tmp_path: Path) -> None:
    path = written(tmp_path, {name: COLUMNS[name] for name in frame().columns})
    assert main(["schema", path, "-o", str(tmp_path / "c.toml"), "-q"]) == 0
    text = (tmp_path / "c.toml").read_text(encoding="utf-8")
    (tmp_path / "c.toml").write_text(text.replace('kind = "ignore"', 'kind = "categorical"', 1), encoding="utf-8")
    fitted, said = caught(schema=tmp_path / "c.toml")
    assert list(fitted.detector_.columns) == ["amount", "temp", "shop", "note"]
    assert len(said) == 1
    assert said[0].startswith("'empty' (no values) is left out")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"schema": {"amout": "numeric"}}, "did you mean 'amount'?"),
        ({"drop": "shops"}, "did you mean 'shop'?"),
        ({"schema": {"amount": "number"}}, "must be one of 'boolean'"),
        ({"schema": {"amount": {"knd": "numeric"}}}, "did you mean 'kind'?"),
        ({"schema": {"amount": {"kind": "numeric", "format": "%d"}}}, "'format' does not go with kind 'numeric'"),
        ({"schema": "nothing.toml"}, "nothing.toml: cannot be read"),
    ],
)
def test_what_is_stated_wrongly_to_the_estimator_is_a_value_error(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        caught(**parameters)
    assert said in str(error.value)


def test_columns_of_an_array_can_be_dropped_and_nothing_is_warned_of() -> None:
    array = RNG.normal(size=(60, 3))
    fitted = AnomVAE(steps=10, random_state=0, drop=["x1"]).fit(array)
    assert list(fitted.detector_.columns) == ["x0", "x2"]
    changed = array.copy()
    changed[:, 1] = 1e6
    assert np.array_equal(fitted.score_samples(array), fitted.score_samples(changed))
    patients = array.copy()
    patients[:, 1] = np.repeat(np.arange(12), 5)  # a column may be left out and still say which rows belong together
    grouped = AnomVAE(steps=10, random_state=0, drop=["x1"], group=("x1",)).fit(patients)
    assert list(grouped.detector_.columns) == ["x0", "x2"]
    with pytest.raises(ValueError, match="tables with named columns"):
        AnomVAE(steps=10, schema={"x0": "integer"}).fit(array)
