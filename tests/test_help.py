"""What people meet at the command line: help with examples that work, and usage errors that say what to do."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from anomvae.cli import COMMANDS, main, root
from anomvae.cli.command import Command
from anomvae.cli.demo import sample_data
from tests.fits import variables
from tests.folders import environment

ANOMVAE = f"{sys.executable} -m anomvae"


def leaves(group: click.Command = root, name: str = "anomvae") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, and how it is called."""
    if not isinstance(group, click.Group):
        yield name, group
        return
    ctx = click.Context(group)
    for each in group.list_commands(ctx):
        command = group.get_command(ctx, each)
        assert command is not None
        yield from leaves(command, f"{name} {each}")


EXAMPLES = [(name, line) for name, command in leaves() if isinstance(command, Command) for line in command.examples]


def test_every_command_is_of_our_kind_and_shows_examples() -> None:
    for name, command in leaves():
        assert isinstance(command, Command), name
        assert command.examples or name == "anomvae completion"  # that shows what belongs into which file
        assert all(f"anomvae {line}".startswith(name) for line in command.examples)


@pytest.mark.parametrize("name", [name for name, _ in leaves()])
def test_help_fits_eighty_columns_and_ends_with_its_examples(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*name.split()[1:], "--help"]) == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    shown = [line for _, line in EXAMPLES if f"anomvae {line}".startswith(f"{name} ")]
    assert [line.strip() for line in lines[len(lines) - len(shown) :]] == [f"anomvae {line}" for line in shown]
    assert all(len(line) <= 100 for line in lines[len(lines) - len(shown) :])
    assert all(len(line) <= 80 for line in lines[: len(lines) - len(shown)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample data, and with the models that examples name."""
    base = tmp_path_factory.mktemp("examples")
    shutil.copytree(sample_data(), base / "sample_data")
    quick = {**environment(), "ANOMVAE_FIT_STEPS": "30"}
    argv = [*ANOMVAE.split(), "fit", "sample_data/employees.csv", "-o", "employees.anomvae", "-q"]
    subprocess.run(argv, cwd=base, env=quick, check=True)
    return base


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_example_works(place: Path, fits: Path) -> None:
    quick = {**environment(), "ANOMVAE_FIT_STEPS": "30", "ANOMVAE_WATCH_SETTLE": "0.2s", "ANOMVAE_SCORE_SETTLE": "0.2s"}
    (place / "bin").mkdir()
    quick |= variables(place / "bin", fits)
    (place / "sample_data" / "incoming" / "no.csv").write_bytes(b"%PDF-1.4\n")
    for name, line in EXAMPLES:
        if name == "anomvae demo":  # tests/test_docs.py runs the demos
            continue
        command = f"anomvae {line}"
        if name == "anomvae retry":
            told = subprocess.run(
                ["anomvae", "status", "anomvae-out"], cwd=place, env=quick, capture_output=True, text=True, check=False
            )
            command = re.sub(r"\w+$", re.findall(r"\b[0-9a-f]{12,}\b", told.stdout)[-1], command)
        if name == "anomvae watch" and "--idle-exit" not in line:
            command += " --idle-exit 1s"
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=place, env=quick, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1, 3), (command, done.stderr)
        assert done.returncode != 3 or "incoming" in line, (command, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["scor"], "there is no command 'scor'; did you mean 'score'?"),
        (["zzz"], f"there is no command 'zzz'; there are {', '.join(list(COMMANDS)[:8])}, ..."),
        (["fit", "--dropp", "x"], "'anomvae fit' has no option --dropp; did you mean '--drop'?"),
        (["score", "--fail-on", "crit", "x"], "--fail-on: 'crit' is no choice; did you mean 'critical'?"),
        (["watch", "--engine", "ray"], "'anomvae watch' has no option --engine; 'anomvae watch --help' lists them."),
        (["evaluate", "x.csv"], "'anomvae evaluate' needs --label; 'anomvae evaluate --help' shows how."),
        (["fit", "--encoding", "klingon", "{table}"], "encoding 'klingon' is none that Python knows"),
        (["fit", "--device", "cuda", "{table}"], "--device cuda: torch finds no such device here"),
        (["generate", "--json"], "stdout takes the rows or this report; name a file for the rows with -o."),
        (["generate", "--to", "5"], "--to says how many rows a class should reach: it goes with --balance COL."),
        (["score", "{table}", "--settle", "3s"], "--settle goes with a folder, not with files."),
        (["score", "{folder}", "-o", "x.csv"], "x.csv: the results of a folder go to a folder; name one with -o."),
        (["demo", "order"], "STORY: 'order' is no choice; did you mean 'orders'?"),
        (["score", "--top", "-1", "x"], "--top -1: must be a whole number of at least 0."),
        (["score", "--threads", "0", "x"], "--threads 0: must be 'auto', or a whole number of at least 1."),
        (["fit", "--seed", "x"], "--seed: 'x' is not a valid integer."),
        (["fit", "--alpha", "nan", "x"], "--alpha nan: must be a number above 0 and up to 0.5, the share of normal"),
        (["fit", "--hidden", "64,0", "x"], "--hidden 64,0: each must be a whole number of at least 1."),
        (["fit", "--max-time", "5x", "{table}"], "--max-time '5x' is not a duration; write for example 90s"),
        (["fit", "--drop", "Countri", "{table}"], "of --drop, --id or [schema] is not in the training file; did you"),
        (["fit", "--where", "COUNTRY == DE", "{table}"], "is not in the file; did you mean 'country'?"),
        (["threshold", "sett"], "No such command 'sett'"),
        (["threshold", "set", "--alpha", "2"], "--alpha 2: must be a number above 0 and up to 0.5"),
    ],
)
def test_a_wrong_word_is_told_with_what_is_right(
    argv: list[str],
    told: str,
    orders_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = next((sample_data() / "incoming").glob("*.csv"))
    monkeypatch.chdir(tmp_path)
    if argv[0] == "generate":
        argv = [*argv, "-m", str(orders_model)]
    assert main([word.format(table=table, folder=table.parent) for word in argv]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_reason_and_a_path_stay_one_line_however_long(
    orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wrong, out = tmp_path / "a.csv", tmp_path / ("x" * 90) / "out"
    wrong.write_text("a,b\n1,2\n")
    out.parent.mkdir()
    assert main(["score", str(wrong), "-m", str(orders_model)]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"refused {wrong}:1: column ")
    assert line.endswith(" [missing_columns]")
    (tmp_path / "in").mkdir()
    shutil.copy(sample_data() / "incoming" / "2026-11-10.csv", tmp_path / "in")
    assert main(["score", str(tmp_path / "in"), "-m", str(orders_model), "-o", str(out), "--settle", "0.1s"]) == 0
    assert f"results in {out}\n" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["threshold"]])
def test_a_group_alone_shows_its_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Usage: anomvae")
    assert "\n\nCommands:\n" in said.err


@pytest.mark.parametrize(
    "argv",
    [
        ["fit", "{table}", "-o", "{nowhere}/m.anomvae"],
        ["fit", "{table}", "--report", "{nowhere}/page.html"],
        ["score", "{table}", "--report", "{folder}"],
        ["generate", "-o", "{nowhere}/rows.csv"],
    ],
)
def test_an_output_that_cannot_be_is_told_before_the_work(
    argv: list[str], orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"table": sample_data() / "employees.csv", "nowhere": tmp_path / "none", "folder": tmp_path}
    more = [] if argv[0] == "fit" else ["-m", str(orders_model)]
    assert main([*(word.format(**names) for word in argv), *more]) == 74
    said = capsys.readouterr()
    assert said.out == ""
    assert "cannot be written: " in said.err


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ANOMVAE_SCORE_THREADS", "0", "ANOMVAE_SCORE_THREADS=0: must be 'auto', or a whole number of at least 1."),
        ("ANOMVAE_SCORE_TOP", "x", "ANOMVAE_SCORE_TOP: 'x' is not a valid integer."),
        (
            "ANOMVAE_SCORE_TOPP",
            "3",
            "ANOMVAE_SCORE_TOPP: no option of 'anomvae score' is set by this variable; did you",
        ),
    ],
)
def test_a_wrong_variable_is_named(
    name: str, value: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["score", "x.csv"]) == 2
    assert told in capsys.readouterr().err


def test_variables_of_other_commands_and_secrets_are_left_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOMVAE_WEBHOOK", "https://example.invalid")
    monkeypatch.setenv("ANOMVAE_FIT_SED", "1")
    assert main(["inspect", "nothing.anomvae"]) == 4
    assert "no such model file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[fit]\nalpha = 0.9\n", ": [fit] alpha = 0.9: must be a number above 0 and up to 0.5, the share of normal"),
        ("[fit\nalpha = 0.9\n", ":1:5: is not valid TOML: Expected ']'"),
        ('[schema.columns.x]\nkind = "numbr"\n', ": [schema.columns.x] kind = \"numbr\": must be one of 'boolean', "),
        ('[score]\njobs = 2\nengine = "ray"\n', ": [score]: jobs are processes of this machine"),
        ("[fit]\nhidden = [64, 0]\n", ": [fit] hidden = [64,0]: each must be a whole number of at least 1."),
        ("[watch]\npattern = 3\n", ": [watch] pattern = 3: must be a list of which each is text."),
        ('modl = "x"\n', ": unknown key 'modl'; did you mean 'model'?"),
        ("[fit]\nhiden = [3]\n", ": unknown key 'fit.hiden'; did you mean 'hidden'?"),
        ("version = 2\n", ": version = 2: must be 1."),
        ('[fit]\ndelimiter = ";;"\n', ": [fit] delimiter = \";;\": must be 'auto', or one character."),
        ("score = 3\n", ": score = 3: must be a table."),
    ],
)
def test_a_wrong_configuration_is_told_with_its_place(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert main(["score", "x.csv", "-c", str(path)]) == 2
    err = capsys.readouterr().err
    assert f"{path}{told}" in err
    assert err.count("\n") == 1
