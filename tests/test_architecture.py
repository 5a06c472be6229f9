"""The house rules as data: which room may import which, one door per library, start-up without torch."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import anomvae

PACKAGE = Path(anomvae.__file__).parent
FLOORS = {  # room: rooms that it may import (its own folder apart)
    "errors": set(),
    "invalid": set(),
    "formats": {"errors", "results"},
    "disk": {"errors"},
    "settings": {"errors", "invalid", "formats"},
    "drift": set(),
    "challenge": set(),
    "results": {"drift", "challenge"},
    "deliveries": {"results"},
    "messages": {"results"},
    "comparison": {"results"},
    "evaluation": {"results"},
    "explained": {"results"},
    "overview": {"drift", "results"},
    "model": {"errors", "invalid", "settings", "drift", "results", "comparison", "explained"},
    "training": {"errors", "settings", "results", "model"},
    "data": {"errors", "settings", "results", "disk", "formats", "model"},
    "storage": {"errors", "settings", "drift", "results", "deliveries", "disk", "formats", "model"},
    "inbox": {"errors"},
    "pipeline": {
        *("drift", "challenge", "errors", "settings", "results", "deliveries", "comparison", "evaluation", "explained"),
        *("overview", "disk", "formats", "invalid"),
        *("model", "training", "data", "storage", "inbox", "anomvae"),
    },
    "report": {
        *("drift", "challenge", "results", "deliveries", "comparison", "evaluation", "explained", "overview"),
    },
    "outlets": {"errors", "settings", "results", "deliveries", "messages", "disk", "storage", "report", "anomvae"},
    "assessment": {"errors", "invalid", "comparison", "model", "data", "pipeline"},
    "cli": {
        *("errors", "invalid", "formats", "settings", "results", "deliveries", "comparison", "overview", "disk"),
        *("pipeline", "storage", "inbox", "report", "outlets", "assessment", "anomvae"),
    },
    "estimator": {"errors", "settings", "results", "model", "data", "pipeline", "storage", "anomvae"},
    "__init__": {"errors", "model", "pipeline", "storage", "assessment", "estimator"},
    "__main__": {"cli"},
}
MEASURING = {"coverage", "$coverage"}  # in every process of make coverage
DOORS = {  # library: rooms or files that may import it
    "torch": {"training"},
    "pandas": {"data"},
    "pyarrow": {"data", "formats"},
    "safetensors": {"store/model_file.py"},
    "rich": {"report", "cli"},
    "sqlite3": {"folder/database.py"},
    "watchdog": {"folder/events.py"},
    "fcntl": {"disk", "folder/settle.py"},
    "fsspec": {"cluster/object_store.py"},
    "ray": {"cluster/ray.py"},
    "jinja2": {"report/html_page.py"},
    "markupsafe": {"report/html_page.py", "report/svg.py"},
    "prometheus_client": {"notify/prometheus_file.py"},
    "apprise": {"notify/apprise_outlet.py"},
    "http": {"notify/http_outlets.py"},
    "click": {"cli"},
    "scipy": {"model"},
    "numpy": {
        "model",
        "training",
        "table/frames.py",
        "table/csv_fast.py",
        "pipeline",
        "storage",
        "assessment",
        "estimator",
    },
    "sklearn": {"assessment", "estimator"},
    "threadpoolctl": {"assessment"},
}
MOST_LINES = 600  # of a module
MOST_PARAMETERS = 8  # of a function; the arguments of a command are its options
TOO_MANY_PARAMETERS = {  # functions that have more today; none may join them, and those that are mended leave the set
    "Beat.__init__",
    "Generator.__init__",
    "Judge.__init__",
    "Run.__init__",
    "score_folder",
}
FORBIDDEN = {"pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle"}
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "anomvae":
            names += [f"anomvae.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def test_the_table_names_every_room() -> None:
    assert {room(path) for path in MODULES} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if name.split(".")[0] == "anomvae":
            target = name.split(".")[1] if "." in name else "anomvae"
            assert target == here or target in FLOORS[here], f"{here} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_library_has_one_door(path: Path) -> None:
    file = str(path.relative_to(PACKAGE))
    for name in {full.split(".")[0] for full in imports(path)}:
        assert name not in FORBIDDEN, f"{file} imports {name}"
        if name in DOORS:
            assert room(path) in DOORS[name] or file in DOORS[name], f"{file} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_disk_room_makes_things_last(path: Path) -> None:
    if path.stem != "disk":
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)]
        used = {call.attr for call in calls if isinstance(call.value, ast.Name) and call.value.id == "os"}
        assert not used & {"fsync", "rename", "replace", "link", "unlink", "remove", "ftruncate"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_numerics_neither_print_nor_read_the_clock(path: Path) -> None:
    if room(path) == "model":
        assert not {"time", "logging", "os", "io", "pathlib"} & set(imports(path))
        names = {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
        assert not names & {"print", "open"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_longer_than_a_reader_can_hold(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parsed(path))


def functions(node: ast.AST, above: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below a node, methods as `Class.method`."""
    for child in ast.iter_child_nodes(node):
        inside = f"{above}{child.name}." if isinstance(child, ast.ClassDef) else above
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield above + child.name, child
        yield from functions(child, inside)


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is decorated by `@click.command(...)`, or by `@group.command(...)`."""
    calls = [decorator.func for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr == "command" for call in calls)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many it has, `self` and `cls` not counted."""
    given = function.args
    named = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return sum(name not in ("self", "cls") for name in named) + (given.vararg is not None) + (given.kwarg is not None)


def test_no_function_has_more_parameters_than_a_reader_can_hold() -> None:
    found = {
        name
        for path in MODULES
        for name, function in functions(parsed(path))
        if parameters(function) > MOST_PARAMETERS and not is_command(function)
    }
    assert found - TOO_MANY_PARAMETERS == set()
    assert TOO_MANY_PARAMETERS - found == set(), "mended: take these from TOO_MANY_PARAMETERS"


def loaded(*argv: str) -> set[str]:
    code = (
        "import sys; from anomvae.cli import main; code = main(sys.argv[1:]);"
        "print('\\n' + ' '.join(sorted(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_neither_numpy_nor_pandas(flag: str) -> None:
    assert not {"numpy", "pandas", "torch", "pyarrow", "scipy"} & loaded(flag)


def test_score_generate_inspect_and_explain_never_load_torch(orders_model: Path) -> None:
    table = PACKAGE.parent / "sample_data" / "incoming" / "2026-11-10.csv"
    heavy = {"torch", "sklearn", "pandas", "scipy.stats", "watchdog"}
    assert not heavy & loaded("score", str(table), "-m", str(orders_model))
    assert not heavy & loaded("inspect", str(orders_model))
    assert not heavy & loaded("explain", f"{table}:2", "-m", str(orders_model))
    assert not heavy & loaded("generate", "-m", str(orders_model), "-n", "3")
    assert not heavy & loaded(
        "evaluate", str(table), "-m", str(orders_model), "--label", "customer", "--normal", "C0016"
    )
    assert not heavy & loaded("threshold", "show", "-m", str(orders_model))


def test_fit_without_torch_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; from anomvae.cli import main; sys.exit(main(sys.argv[1:]))"
    table = str(PACKAGE.parent / "sample_data" / "digits.csv")
    done = subprocess.run([sys.executable, "-c", code, "fit", table], capture_output=True, text=True, check=False)
    assert done.returncode == 74
    assert done.stderr.splitlines()[-1].startswith("anomvae: training needs torch")
    assert done.stderr.endswith("install it with: pip install torch.\n")


def test_the_score_of_a_small_file_loads_these_libraries_alone(orders_model: Path) -> None:
    table = PACKAGE.parent / "sample_data" / "incoming" / "2026-11-10.csv"
    modules = loaded("score", str(table), "-m", str(orders_model))
    tops = {name.split(".")[0] for name in modules if not name.startswith("_")} - set(sys.stdlib_module_names)
    needed = {"anomvae", "click", "msgspec", "numpy", "rich", "safetensors", "scipy", "typing_extensions"}
    assert tops <= needed | {"cython_runtime", *MEASURING}, tops - needed
    assert (
        not {
            "scipy.special",
            "rich.progress",
            "anomvae.folder.inbox",
            "anomvae.folder.ledger",
            "anomvae.report.html_page",
        }
        & modules
    )


def test_public_names_are_these() -> None:
    public = ["AnomVAE", "AnomvaeError", "Detector", "__version__", "fit", "generate", "load", "quality", "score"]
    assert anomvae.__all__ == public
    assert all(getattr(anomvae, name) is not None for name in anomvae.__all__)


READS_TEXT = {"startswith", "endswith", "partition", "rpartition", "split", "removeprefix", "find"}
TEXTS = {"reason", "warning", "message", "selection", "told", "sentence"}  # names of what is made for people
PROSE = {  # where a sentence is read all the same, and why
    ("table/csv_decode.py", "message"): "the csv module tells its errors apart by text alone",
}


def texts_read(path: Path) -> set[str]:
    """Names of sentences for people that a module takes apart, or compares with a literal text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        read: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS_TEXT:
            read = [node.func.value]
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            literal = any(isinstance(side, ast.Constant) and side.value and type(side.value) is str for side in sides)
            read = sides if literal else []
        names = {side.attr if isinstance(side, ast.Attribute) else getattr(side, "id", "") for side in read}
        found |= names & TEXTS
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_reads_a_sentence_made_for_people(path: Path) -> None:
    file = str(path.relative_to(PACKAGE))
    assert {name for name in texts_read(path) if (file, name) not in PROSE} == set()


def importers() -> dict[str, set[str]]:
    """Modules of the package, each with the modules that import it."""
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES}
    found = defaultdict(set)
    for path, importer in names.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                for name in {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}:
                    found[name].add(importer)
    return {name: found[name] for name in names.values()}


if __name__ == "__main__":  # a report, no rule: a module that one other imports may belong into that one
    for module, by in importers().items():
        if len(by) == 1:
            print(f"{module} is imported by {by.pop()} alone")
