"""Pages whose commands run: `rerun` fills in what they really print, `alike` compares that with what a page shows.

A `console` block holds commands after `$ `, each with its output; a line `[...]` stands for what is left out there. A
`python` block runs alone, and a `text` block after it is what it prints.
"""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"```(console|python|text)\n(.*?)```\n", re.DOTALL)
GAP = "[...]"
WIDTH = "100"
FLEETING = re.compile(r"\d+:\d\d:\d\d|\d+\.\d s\b|\b[0-9a-f]{12}\b")  # times, and fingerprints of models
BAR = re.compile("[\u2588-\u258f]+|(?<=\u2500)\u2500+")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def rerun(page: str, folder: Path, **variables: str) -> str:
    """The page with the outputs that its commands have when they run in the folder, in turn, with these variables."""
    printed = ""

    def run(block: re.Match[str]) -> str:
        nonlocal printed
        language, body = block.groups()
        if language == "python":
            printed = _output([sys.executable, "-c", body], folder, variables)
        body = {"console": lambda: _console(body, folder, variables), "python": lambda: body, "text": lambda: printed}[
            language
        ]()
        return f"```{language}\n{body}```\n"

    return BLOCK.sub(run, page)


def _console(body: str, folder: Path, variables: dict[str, str]) -> str:
    told = ""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        told += f"$ {command}\n" + _shortened(_output(["bash", "-c", command], folder, variables), shown)
    return told


def _shortened(printed: str, shown: str) -> str:
    """The output, with as many lines before and after a gap as the page shows."""
    if GAP not in shown.splitlines():
        return printed
    gap, lines = shown.splitlines().index(GAP), printed.splitlines()
    after = len(shown.splitlines()) - gap - 1
    return "\n".join([*lines[:gap], GAP, *lines[len(lines) - after :]]) + "\n"


def _output(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "COLUMNS": WIDTH, **variables}
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, check=False, cwd=folder, env=env, text=True, timeout=500, **both)
    assert done.returncode in (0, 1), f"{command[-1]}: exit code {done.returncode}\n{done.stdout}"
    assert "Traceback" not in done.stdout, done.stdout
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def alike(shown: str, printed: str) -> bool:
    """Whether two texts have the same words and, within what processors differ by, the same numbers."""
    return not difference(shown, printed)


def difference(shown: str, printed: str) -> str:
    """The first line, or word, in which two texts are not alike; nothing where they are."""
    for left, right in zip(_lines(shown), _lines(printed), strict=False):
        words = NUMBER.sub("#", left) == NUMBER.sub("#", right)
        if not words or not all(map(_close, NUMBER.findall(left), NUMBER.findall(right))):
            return f"shown   {left}\nprinted {right}"
    counts = len(_lines(shown)), len(_lines(printed))
    return "" if counts[0] == counts[1] else f"{counts[0]} lines shown, {counts[1]} printed"


def _lines(text: str) -> list[str]:
    steady = BAR.sub("", FLEETING.sub("~", text))
    return [" ".join(line.split()) for line in steady.splitlines()]


def _close(left: str, right: str) -> bool:
    """Within 5 %, or two units of the last decimal shown; numbers with an exponent, small chances, within 30 %."""
    relative = 0.3 if "e" in left else 0.05
    decimals = len(left.partition(".")[2])
    absolute = 2 * 10.0**-decimals if decimals and "e" not in left else 0.0
    return math.isclose(float(left.replace(",", "")), float(right.replace(",", "")), rel_tol=relative, abs_tol=absolute)
