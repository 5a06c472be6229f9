"""The rules of the layout as data: which package may import which, one door per library, start-up without torch."""

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import anomvae

PACKAGE = Path(anomvae.__file__).parent
DOCS = PACKAGE.parent / "docs"
PAGE = (DOCS / "architecture.md").read_text(encoding="utf-8")
FLOORS = {  # a package, or a module beside them: what it may import, apart from itself; the lowest come first
    "errors": set(),
    "records": set(),
    "config_errors": set(),
    "durable_io": {"errors"},
    "formats": {"errors", "records"},
    "config": {"errors", "config_errors", "formats"},
    "model": {"errors", "records", "config_errors", "config"},
    "table": {"errors", "records", "config_errors", "formats", "config", "model"},
    "training": {"errors", "records", "config", "model", "table", "anomvae"},
    "store": {"errors", "durable_io", "model", "synthesis"},
    "scoring": {"errors", "records", "durable_io", "formats", "config", "model", "table"},
    "workers": {"errors", "records", "durable_io", "formats", "config", "model", "table", "store", "scoring"},
    "folder": {
        *("errors", "records", "durable_io", "formats", "config", "model", "scoring", "workers", "anomvae"),
    },
    "report": {"errors", "records", "model", "folder"},
    "notify": {"errors", "records", "durable_io", "config", "folder", "report", "anomvae"},
    "cluster": {"errors", "durable_io", "model", "store", "scoring", "workers", "folder", "anomvae"},
    "quality": {"errors", "records", "config_errors", "config", "model", "table", "report"},
    "synthesis": {
        *("errors", "records", "config_errors", "durable_io", "formats", "config", "model", "table", "store"),
        *("report", "quality", "training"),
    },
    "commands": {
        *("errors", "records", "config_errors", "config", "model", "table", "training", "store", "scoring"),
        "synthesis",
    },
    "estimator": {"errors", "records", "config", "model", "table", "training", "store", "synthesis", "anomvae"},
    "anomvae": {"errors", "model", "store", "scoring", "quality", "synthesis", "commands", "estimator"},
    "cli": {
        *("errors", "records", "config_errors", "durable_io", "formats", "config", "store", "scoring", "workers"),
        *("folder", "report", "notify", "cluster", "quality", "synthesis", "commands", "anomvae"),
    },
    "__main__": {"cli"},
}
UPWARDS = {  # the edges that do not point down, and why they harm nothing
    ("store", "synthesis"): "a model file loads the sub-package inside a function, when its generator is asked for",
    **{
        (package, "anomvae"): "for the version alone, which is set before anything is imported"
        for package in ("training", "folder", "notify", "cluster", "estimator")
    },
}
SUB_PACKAGES = ("synthesis", "quality", "cluster")  # others know what their __init__.py names, and no inner module
LOAD_AT_ONCE = {"anomvae", "cli", "estimator", "commands/fit.py"}  # may import one when they are imported
MEASURING = {"coverage", "$coverage"}  # in every process of make coverage
DOORS = {  # library: the packages or files that may import it
    "torch": {"training", "synthesis/generator_network.py"},
    "pandas": {"table"},
    "pyarrow": {"table", "formats"},
    "safetensors": {"store/model_file.py"},
    "rich": {"report", "cli", "synthesis/report.py", "quality/report.py"},
    "sqlite3": {"folder/database.py"},
    "watchdog": {"folder/events.py"},
    "fcntl": {"durable_io", "folder/settle.py"},
    "fsspec": {"cluster/object_store.py"},
    "ray": {"cluster/ray.py"},
    "jinja2": {"report/html_page.py"},
    "markupsafe": {"report"},
    "prometheus_client": {"notify/prometheus_file.py"},
    "apprise": {"notify/apprise_outlet.py"},
    "http": {"notify/http_outlets.py"},
    "click": {"cli"},
    "scipy": {"model", "synthesis"},
    "numpy": {
        *("model", "table", "training", "store", "scoring", "cluster", "quality", "synthesis", "commands"),
        "estimator",
    },
    "sklearn": {"quality/compare.py", "estimator"},
    "threadpoolctl": {"quality/compare.py"},
}
NUMERICS = {  # files beside model/ that read no file and no clock, and print nothing
    *("synthesis/encoder.py", "synthesis/dependencies.py", "synthesis/decoder.py", "synthesis/generator.py"),
    *("synthesis/sample.py", "synthesis/privacy_filter.py", "quality/similarity.py"),
}
MOST_LINES = 600  # of a module
MOST_PARAMETERS = 8  # of a function; the arguments of a command, and of the estimator, are its options
RETIRED = {  # words that once meant many things; the glossary in docs/architecture.md has one for each of these
    *("anatomy", "desk", "errand", "firsts", "gather", "gathered", "judge", "judged", "judging", "lifted"),
    *("plain", "pulse", "spoken", "teach", "teller", "telling", "told", "wanted"),
}
NAMES_LEFT = {  # names that have such a word today; none may join them, and those that are renamed leave the set
    *("FitSettings.plain", "NumberFormat.plain", "ToldRow"),
}
MOST_WORDS = 40  # of the glossary
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


def package_of(path: Path) -> str:
    """The package below `anomvae` that a file is in; of a module beside the packages its own name."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem.replace("__init__", "anomvae")


def test_the_table_names_every_package() -> None:
    assert {package_of(path) for path in MODULES} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_are_those_of_the_table(path: Path) -> None:
    here = package_of(path)
    for name in imports(path):
        if name.split(".")[0] == "anomvae":
            target = name.split(".")[1] if "." in name and name != "anomvae.__version__" else "anomvae"
            assert target == here or target in FLOORS[here], f"{here} must not import {name}"


def test_the_table_has_no_cycle_and_points_down() -> None:
    graph = {one: {other for other in below if (one, other) not in UPWARDS} for one, below in FLOORS.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the packages
    order = list(FLOORS)
    assert [(one, other) for one in graph for other in graph[one] if order.index(other) > order.index(one)] == []


def at_import(path: Path) -> list[ast.ImportFrom]:
    """Imports that are done when the file is imported: not those inside functions, nor those for the type checker."""
    return [node for node in parsed(path).body if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_sub_package_is_entered_by_its_door(path: Path) -> None:
    for package in set(SUB_PACKAGES) - {package_of(path)}:
        assert not [name for name in imports(path) if name.startswith(f"anomvae.{package}.")]
        names = importlib.import_module(f"anomvae.{package}").__all__
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module == f"anomvae.{package}":
                assert {alias.name for alias in node.names} <= set(names)
        if [node for node in at_import(path) if node.module == f"anomvae.{package}"]:
            assert {package_of(path), str(path.relative_to(PACKAGE))} & {*LOAD_AT_ONCE, *SUB_PACKAGES}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_library_has_one_door(path: Path) -> None:
    file = str(path.relative_to(PACKAGE))
    for name in {full.split(".")[0] for full in imports(path)}:
        assert name not in FORBIDDEN, f"{file} imports {name}"
        if name in DOORS:
            assert package_of(path) in DOORS[name] or file in DOORS[name], f"{file} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_durable_io_makes_things_last(path: Path) -> None:
    if path.stem != "durable_io":
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)]
        used = {call.attr for call in calls if isinstance(call.value, ast.Name) and call.value.id == "os"}
        assert not used & {"fsync", "rename", "replace", "link", "unlink", "remove", "ftruncate"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_numerics_neither_print_nor_read_the_clock(path: Path) -> None:
    if package_of(path) == "model" or str(path.relative_to(PACKAGE)) in NUMERICS:
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


def public_names() -> Iterator[str]:
    """Names of all modules, classes, and public functions and methods, methods as `Class.method`."""
    for path in MODULES:
        yield path.stem
        yield from (node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef))
        for name, function in functions(parsed(path)):
            if not function.name.startswith("_"):
                yield name


def words_of(name: str) -> set[str]:
    """`told_rows` -> told, rows; `ToldRow` -> told, row."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_no_name_has_a_retired_word() -> None:
    found = {name for name in public_names() if words_of(name.split(".")[-1]) & RETIRED}
    assert found - NAMES_LEFT == set(), "docs/architecture.md has the word for it in its glossary"
    assert NAMES_LEFT - found == set(), "renamed: take these from NAMES_LEFT"


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
        if parameters(function) > MOST_PARAMETERS and not is_command(function) and name != "AnomVAE.__init__"
    }
    assert found == set()


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


def test_the_page_has_a_line_for_every_module() -> None:
    named, folder = set(), ""
    for line in PAGE.partition("## Modules")[2].partition("\n## ")[0].splitlines():
        if line.startswith("### "):
            folder = "".join(re.findall(r"`(\w+/)`", line))
        named |= {folder + name for name in re.findall(r"^- `(\w+\.py)`: .", line)}
    commands = {"cli/" + path.name for path in (PACKAGE / "cli").glob("*.py")}  # named together: a module a command
    there = {str(path.relative_to(PACKAGE)) for path in MODULES if not path.stem.startswith("__")}
    assert named - there == set()
    assert there - named - commands == set()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+(?:\.\w+)+)`", PAGE.partition("## Modules")[0]))))
def test_the_paths_name_what_there_is(name: str) -> None:
    parts = name.split(".")
    if parts[0] == "anomvae" or parts[-1] == "py":
        return
    depth = max(k for k in range(1, len(parts)) if PACKAGE.joinpath(*parts[:k]).with_suffix(".py").is_file() or k == 1)
    found = importlib.import_module(".".join(["anomvae", *parts[:depth]]))
    for attribute in parts[depth:]:
        found = getattr(found, attribute)


def test_the_glossary_is_short_and_has_no_retired_word() -> None:
    words = re.findall(r"^\| ([\w -]+) \| ", PAGE.partition("## Glossary")[2], re.MULTILINE)[1:]
    assert len(words) == len(set(words)) <= MOST_WORDS
    assert not {word for term in words for word in term.split()} & RETIRED


def test_decisions_are_cited_by_their_titles() -> None:
    titles = re.findall(r"^\d+\. \*\*(.+?)\*\*", (DOCS / "decisions.md").read_text(encoding="utf-8"), re.MULTILINE)
    for path in MODULES:
        text = " ".join(path.read_text(encoding="utf-8").split())
        for cited in re.findall(r"docs/decisions\.md, ([^).]*)", text):
            quoted = cited.strip('" ')
            assert any(title.startswith(quoted) for title in titles), f"{path}: no decision is called {cited}"


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
