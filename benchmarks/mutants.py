"""make mutants: how many small changes of three rooms the tests notice.

    python -m benchmarks.mutants [--room NAME ...] [--most N] [--seed N]

One mutant is one change of the syntax tree: a comparison, an operator, a constant, a word of SQL, a returned value, a
statement left out. It is written into a copy of the project, where the room's tests run until one fails. A mutant that
takes too long counts as killed. The tests run in a fork that has the large libraries loaded already, so that a mutant
takes seconds; cosmic-ray and mutmut start a new interpreter for each, and change the sources where they lie.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
ROOMS = {  # file: the tests that concern it, the quick ones first
    "anomvae/model/calibration.py": ["tests/test_calibration.py", "-k", "not blocks_keep and not dependence"],
    "anomvae/folder/ledger.py": ["tests/test_ledger.py", "tests/test_history.py"],
    "anomvae/folder/settle.py": ["tests/test_inbox.py"],
}
LIBRARIES = (
    "numpy",
    "scipy.stats",
    "scipy.special",
    "pandas",
    "pyarrow.csv",
    "torch",
    "pytest",
    "rich.table",
)
LONGEST = 300.0  # seconds for the tests of a room as it is; a mutant may take three times what they took
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
    **{
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Mult: ast.Div,
        ast.Div: ast.Mult,
        ast.FloorDiv: ast.Mult,
        ast.Pow: ast.Mult,
    },
    **{ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr},
}
SQL = (
    (" = ?", " <> ?"),
    (" DESC", ""),
    (" AND ", " OR "),
    ("max(", "min("),
    ("+ 1", "+ 2"),
    (">= ?", "> ?"),
    ("NOT IN", "IN"),
)
STATES = (
    ("committed", "quarantined"),
    ("quarantined", "committed"),
    ("ORDER BY sequence", ""),
    ("clean = 1", "clean = 0"),
)


class Mutant(NamedTuple):
    """One change: where it is, what was there and what is there now, and the whole file with it."""

    line: int
    before: str
    after: str
    source: str


class Exchange(ast.NodeTransformer):
    """Puts one node of a tree in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The node, or the one in its place."""
        return self.new if node is self.old else self.generic_visit(node)


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a file."""
    nodes = list(ast.walk(ast.parse(source)))
    said = {id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    for index, node in enumerate(nodes):
        if id(node) in said:  # a docstring
            continue
        for changed in _changes(node):
            tree = ast.parse(source)
            text = ast.unparse(Exchange(list(ast.walk(tree))[index], changed).visit(tree))
            yield Mutant(node.lineno, ast.unparse(node), ast.unparse(changed), text)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What one node may become."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[i] = SWAPPED[type(op)]()
            yield changed
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPPED:
        changed = copy.deepcopy(node)
        changed.op = SWAPPED[type(node.op)]()
        yield changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield copy.deepcopy(node.operand)
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _values(node.value))
    elif isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()


def _values(value: object) -> Iterator[object]:
    """Other constants than this one; words that are no SQL are left alone."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield from (value.replace(old, new) for old, new in (*SQL, *STATES) if old in value and "\n" not in value)


def ends(folder: Path, tests: list[str], limit: float) -> bool:
    """Whether the tests pass in a copy of the project, in time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", str(ROOT)))]
            sys.dont_write_bytecode = True
            import pytest

            code = int(
                pytest.main(
                    ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", f"{folder}/.tmp", *tests]
                )
            )
        finally:
            os._exit(code)
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def survivors(room: str, chosen: list[Mutant], folders: list[Path]) -> list[Mutant]:
    """The mutants that no test notices."""
    free: SimpleQueue[Path] = SimpleQueue()
    for folder in folders:
        free.put(folder)

    limit, began = LONGEST, time.monotonic()

    def passes(mutant: Mutant) -> bool:
        folder = free.get()
        try:
            (folder / room).write_text(mutant.source, encoding="utf-8")
            passed = ends(folder, ROOMS[room], limit)
            if passed and mutant.line:
                print(f"  {mutant.line}: {mutant.before}  ->  {mutant.after}", flush=True)
            return passed
        finally:
            free.put(folder)

    good = (ROOT / room).read_text(encoding="utf-8")
    if not passes(Mutant(0, "", "", good)):
        raise SystemExit(f"{room}: its tests fail, or take too long, without any change")
    limit = 3 * (time.monotonic() - began) + 5
    with ThreadPoolExecutor(len(folders)) as pool:
        alive = [mutant for mutant, passed in zip(chosen, pool.map(passes, chosen), strict=True) if passed]
    for folder in folders:
        (folder / room).write_text(good, encoding="utf-8")
    return alive


def main() -> None:
    """Mutate what was named; survivors are printed as they are found, then the count of each room."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--room", nargs="*", choices=[*ROOMS, []], default=[*ROOMS])
    parser.add_argument(
        "--most", type=int, default=1000, help="mutants of a room, drawn at random where there are more"
    )
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    for name in LIBRARIES:
        importlib.import_module(name)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(i) for i in range(os.cpu_count() or 1)]
        for folder in folders:
            shutil.copytree(
                ROOT, folder, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", ".hypothesis")
            )
        for room in told.room:
            every = list(mutants((ROOT / room).read_text(encoding="utf-8")))
            chosen = random.Random(told.seed).sample(every, min(told.most, len(every)))  # noqa: S311 (no secret)
            started = time.monotonic()
            alive = survivors(room, chosen, folders)
            killed = len(chosen) - len(alive)
            print(
                f"{room}: {killed} of {len(chosen)} killed ({killed / len(chosen):.0%}),"
                f" {time.monotonic() - started:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
