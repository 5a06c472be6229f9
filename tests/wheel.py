"""make wheel-check: the wheel and the source archive as a user gets them, in an environment made for them.

    python -m tests.wheel [--python PATH] [--without-torch]

Both are built, their metadata checked, and the source archive's own tests run. The wheel goes into a new environment,
where every command is run outside of the checkout. `--without-torch` is for machines that only score, and for
interpreters without a CPU build of it: this interpreter fits, that one does all the rest, with the same bytes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ["-c", str(ROOT / "constraints.txt")]
QUICK = ["tests/test_metrics.py", "tests/test_inbox.py", "tests/test_ledger.py"]
FIT = ["fit", "orders", "--id", "order_id", "--drop", "customer", "-q"]
COMMANDS = (  # what is asked, and the exit code that the sample data earns
    (["--help"], 0),
    (["inspect"], 0),
    (["score", "incoming/2026-11-10.csv", "-o", "clean.csv"], 0),
    (["score", "incoming/2026-11-12.csv", "-o", "bad.csv"], 1),
    (["explain", "incoming/2026-11-12.csv:90"], 0),
    (["generate", "-n", "50", "-o", "made.csv"], 0),
    (["threshold", "show"], 0),
    (["score", "incoming", "-o", "once"], 1),
    (["watch", "incoming", "-o", "out", "--settle", "0.1s", "--idle-exit", "2s"], 1),
    (["status", "out"], 0),
    (["report", "out", "-o", "page.html"], 0),
)
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OPENBLAS_NUM_THREADS": "1"}


def run(*argv: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a command, and hold it to its exit code."""
    done = subprocess.run(list(map(str, argv)), cwd=cwd, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{argv}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def built(folder: Path) -> tuple[Path, Path]:
    """The wheel and the source archive; what an index would refuse ends it."""
    run(sys.executable, "-m", "build", "-o", folder, ROOT, cwd=folder)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source, cwd=folder)
    return wheel, source


def unpacked_source_passes(source: Path, folder: Path) -> None:
    """Quick tests run from the unpacked source archive, on its own code."""
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("*.py")}
    assert there <= {str(path.relative_to(top)) for path in (top / "tests").glob("*.py")}
    assert str(top) in run(sys.executable, "-c", "import anomvae; print(anomvae.__file__)", cwd=top)
    print("source archive:", run(sys.executable, "-m", "pytest", *QUICK, cwd=top).strip().splitlines()[-1], flush=True)


def installed(wheel: Path, python: str, folder: Path, *, torch: bool) -> Path:
    """The new environment's folder of commands."""
    run(python, "-m", "venv", folder, cwd=folder.parent)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", *CONSTRAINTS]
    if torch:
        run(*pip, wheel, cwd=folder)
        run(*pip[:3], "check", cwd=folder)
    else:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        run(*pip, *(one for one in project["dependencies"] if not one.startswith("torch")), cwd=folder)
        run(*pip, "--no-deps", wheel, cwd=folder)
    where = run(folder / "bin" / "python", "-c", "import anomvae; print(anomvae.__file__)", cwd=folder).strip()
    assert Path(where).is_relative_to(folder)
    assert (Path(where).parent / "py.typed").is_file()
    return folder / "bin"


def commands_run(command: Path, model: Path, folder: Path) -> dict[str, bytes]:
    """Run every command that needs no torch; the tables that were written."""
    folder.mkdir()
    for name in ("orders", "incoming"):
        shutil.copytree(ROOT / "sample_data" / name, folder / name)
    shutil.copy(model, folder / "model.anomvae")
    for argv, code in COMMANDS:
        run(command, *argv, cwd=folder, code=code)
    once, always = (
        {path.name: path.read_bytes() for path in (folder / o / "results").glob("*.csv")} for o in ("once", "out")
    )
    assert once == always
    assert len(once) == 3
    assert (
        "http" not in (folder / "page.html").read_text(encoding="utf-8").partition("<body")[2].partition("<script")[0]
    )
    return {name: (folder / name).read_bytes() for name in ("clean.csv", "bad.csv", "made.csv")}


def main() -> None:
    """Build, install, run; the first thing that is not as it should be ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--without-torch", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for folder in ("dist", "source", "orders"):
            (base / folder).mkdir()
        wheel, source = built(base / "dist")
        unpacked_source_passes(source, base / "source")
        bin_ = installed(wheel, told.python, base / "env", torch=not told.without_torch)
        print("installed:", run(bin_ / "python", "--version", cwd=base).strip(), flush=True)
        here = Path(sys.executable).parent / "anomvae"
        shutil.copytree(ROOT / "sample_data" / "orders", base / "orders", dirs_exist_ok=True)
        if told.without_torch:
            assert "training needs torch" in run(bin_ / "anomvae", *FIT, cwd=base, code=74)
        else:
            for story in ("orders", "digits", "employees"):
                run(bin_ / "anomvae", "demo", story, cwd=base)
            print("demo: orders, digits, employees", flush=True)
        run(here if told.without_torch else bin_ / "anomvae", *FIT, "-o", "model.anomvae", cwd=base)
        there = commands_run(bin_ / "anomvae", base / "model.anomvae", base / "there")
        assert there == commands_run(here, base / "model.anomvae", base / "here")
        print(f"{len(COMMANDS)} commands, the same bytes as from the checkout", flush=True)


if __name__ == "__main__":
    main()
