"""The example page runs, and prints what it says it prints; `python -m tests.test_docs` writes the outputs anew."""

import io
import os
import re
import shlex
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest

from anomvae.cli import main

pytestmark = pytest.mark.slow  # fits, as the page shows it

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "example.md"
BLOCK = re.compile(r"```(python|console|text)\n(.*?)```\n", re.DOTALL)


def with_real_outputs(page: str) -> str:
    """The page with every `text` block replaced by what the block before it printed, run in the current folder."""
    names: dict[str, object] = {}
    printed = ""

    def run(block: re.Match[str]) -> str:
        nonlocal printed
        language, body = block.groups()
        if language == "text":
            return f"```text\n{printed}```\n"
        out = io.StringIO()
        with redirect_stdout(out):
            if language == "python":
                exec(compile(body, "docs/example.md", "exec"), names)  # noqa: S102 (our own page)
            else:
                assert main(shlex.split(body.removeprefix("$ anomvae "))) == 0
        printed = out.getvalue()
        return block.group()

    return BLOCK.sub(run, page)


def in_a_folder(folder: Path) -> str:
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    with chdir(folder):
        return with_real_outputs(PAGE.read_text(encoding="utf-8"))


def test_the_example_prints_what_it_says_it_prints(tmp_path: Path) -> None:
    assert in_a_folder(tmp_path) == PAGE.read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        PAGE.write_text(in_a_folder(Path(made)), encoding="utf-8")
