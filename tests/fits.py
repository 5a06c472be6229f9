"""`python -m tests.fits ARGS` is `anomvae ARGS`, but a fit is run once a session of the tests: the README, the demo and the
fixtures fit the same tables with the same words.

Two fits are the same when their arguments, the variables that they can see, and the bytes of every file that their arguments name
are the same. The first one runs, as a process of its own. For the others what it printed is printed again, and the model that it
wrote is put in place. A fit that fails, or that writes more than the file of `-o`, is run every time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

ROOT = Path(__file__).parent.parent
SESSION = "ANOMVAE_TEST_FITS"  # the variable that names the folder of the session's fits
SEEN = ("ANOMVAE_", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")


def variables(folder: Path, fits: Path) -> dict[str, str]:
    """Variables that make `anomvae` mean this module, by a script in a folder, with the fits of the session."""
    script = folder / "anomvae"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fits "$@"\n')
    script.chmod(0o755)
    path = [str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {"PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT), SESSION: str(fits)}


def fit(words: Sequence[str]) -> int:
    """`anomvae fit` with these words behind `fit`, in the current folder; returns its exit code."""
    store = Path(os.environ[SESSION])
    if "-o" not in words or {"--report", "--json"} & set(words):
        return subprocess.run([sys.executable, "-m", "anomvae", "fit", *words], check=False).returncode
    target = Path(words[words.index("-o") + 1])
    kept = store / _key(words)
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            done = subprocess.run([sys.executable, "-m", "anomvae", "fit", *words], capture_output=True, check=False)
            if done.returncode:
                return _say(done.stdout, done.stderr, done.returncode)
            made = kept.with_suffix(".part")
            made.mkdir()
            shutil.copy(target, made / "model")
            (made / "stdout").write_bytes(done.stdout)
            (made / "stderr").write_bytes(done.stderr)
            made.rename(kept)
    if not target.exists() or target.read_bytes() != (kept / "model").read_bytes():
        shutil.copy(kept / "model", target)
    return _say((kept / "stdout").read_bytes(), (kept / "stderr").read_bytes(), 0)


def _say(stdout: bytes, stderr: bytes, code: int) -> int:
    for stream, said in ((sys.stderr, stderr), (sys.stdout, stdout)):
        stream.write(said.decode())
        stream.flush()
    return code


def _key(words: Sequence[str]) -> str:
    """A digest of all that decides what a fit prints and writes."""
    seen = sorted((name, value) for name, value in os.environ.items() if name.startswith(SEEN) and name != SESSION)
    digest = hashlib.sha256(repr((list(words), seen)).encode())
    output = words.index("-o") + 1
    for place, word in enumerate(words):
        if place != output:
            for path in _files(Path(word)):
                digest.update(f"{path} {path.stat().st_size}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(below for below in path.rglob("*") if below.is_file())
    elif path.is_file():
        yield path


def main() -> int:
    """The command line of anomvae, with its fits taken from the session; those of `anomvae demo` too."""
    from anomvae import cli

    run = cli.root.main

    def run_or_take(args: list[str], **options: Any) -> Any:
        return fit(args[1:]) if args[:1] == ["fit"] else run(args=args, **options)

    cli.root.main = run_or_take  # type: ignore[method-assign, assignment]
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
