"""The house rules as data: which room may import which, one door per library, start-up without torch."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import anomvae

PACKAGE = Path(anomvae.__file__).parent
FLOORS = {  # room: rooms that it may import (its own folder apart)
    "errors": set(),
    "invalid": set(),
    "disk": {"errors"},
    "settings": {"errors", "invalid"},
    "drift": set(),
    "challenge": set(),
    "results": {"drift", "challenge"},
    "deliveries": {"results"},
    "messages": {"results"},
    "evaluation": {"results"},
    "explained": {"results"},
    "overview": {"drift", "results"},
    "model": {"errors", "invalid", "settings", "drift", "results", "explained", "synthesis"},
    "training": {"errors", "settings", "results", "model"},
    "data": {"errors", "settings", "results", "disk", "model"},
    "storage": {"errors", "settings", "drift", "results", "deliveries", "disk", "model", "synthesis"},
    "inbox": {"errors"},
    "pipeline": {
        *("drift", "challenge", "errors", "settings", "results", "deliveries", "evaluation", "explained"),
        *("overview", "synthesis", "disk", "invalid"),
        *("model", "training", "data", "storage", "inbox", "anomvae"),
    },
    "report": {
        *("drift", "challenge", "results", "deliveries", "evaluation", "explained", "overview"),
    },
    "outlets": {"errors", "settings", "results", "deliveries", "messages", "disk", "storage", "report", "anomvae"},
    "quality": {"errors", "invalid", "settings", "results", "model", "data", "pipeline", "report"},
    "synthesis": {
        *("errors", "invalid", "settings", "results", "disk", "model", "training", "data", "storage", "pipeline"),
        *("report", "quality", "anomvae"),
    },
    "cli": {
        *("errors", "invalid", "settings", "results", "deliveries", "overview", "disk"),
        *("pipeline", "storage", "inbox", "report", "outlets", "synthesis", "quality", "anomvae"),
    },
    "estimator": {"errors", "settings", "results", "model", "data", "pipeline", "storage", "synthesis", "anomvae"},
    "__init__": {"errors", "model", "pipeline", "storage", "synthesis", "quality", "estimator"},
    "__main__": {"cli"},
}
MEASURING = {"coverage", "$coverage"}  # in every process of make coverage
DOORS = {  # library: rooms or files that may import it
    "torch": {"training", "synthesis/generator_network.py"},
    "pandas": {"data"},
    "pyarrow": {"data"},
    "safetensors": {"storage/model_file.py"},
    "rich": {"report", "cli", "synthesis/report.py", "quality/report.py"},
    "sqlite3": {"storage/database.py"},
    "watchdog": {"inbox/events.py"},
    "fcntl": {"disk", "inbox/probe.py"},
    "fsspec": {"data/locations.py"},
    "ray": {"pipeline/engine_ray.py"},
    "jinja2": {"report/page.py"},
    "markupsafe": {"report/page.py", "report/drawing.py"},
    "prometheus_client": {"outlets/textfile.py"},
    "apprise": {"outlets/chat.py"},
    "http": {"outlets/web.py"},
    "click": {"cli"},
    "scipy": {"model", "synthesis"},
    "numpy": {
        *("model", "training", "data/frames.py", "data/plain.py", "pipeline", "storage", "synthesis", "quality"),
        "estimator",
    },
    "sklearn": {"quality/compare.py", "estimator"},
    "threadpoolctl": {"quality/compare.py"},
}
LONG = {  # functions of more than 40 lines, and why
    ("cli/fit.py", "command"): "its arguments are the options",
    ("cli/score.py", "_score_files"): "its arguments are the options",
    ("cli/generate.py", "command"): "its arguments are the options",
    ("cli/folder.py", "run_folder"): "the order in which a run begins and ends, a line a step",
    ("pipeline/fit.py", "fit"): "the order of a fit, a line a step",
    ("pipeline/learn.py", "_learn"): "one round of training, a line a step, and its record",
    ("pipeline/watch.py", "__init__"): "what a run is made of, a line a part",
}
NUMERICS = {  # files beside model/ that hold to its rules
    *("synthesis/encoder.py", "synthesis/dependencies.py", "synthesis/decoder.py", "synthesis/generator.py"),
    *("synthesis/sample.py", "synthesis/privacy_filter.py", "quality/similarity.py"),
}
SUB_PACKAGES = ("synthesis", "quality")  # known to others by what their __init__.py names alone
AT_IMPORT = {"__init__", "cli", "estimator", "synthesis", "quality"}  # rooms that may load them when they are imported
AT_IMPORT_FILES = {"pipeline/fit.py"}
FORBIDDEN = {"pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def at_import(path: Path) -> list[ast.ImportFrom]:
    """Imports that are done when the file is imported: not those inside functions, nor those for the type checker."""
    return [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_sub_package_is_entered_by_its_door(path: Path) -> None:
    for package in SUB_PACKAGES:
        if room(path) == package:
            continue
        door = importlib.import_module(f"anomvae.{package}")
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found = [node for node in tree if isinstance(node, ast.ImportFrom | ast.Import)]
        for node in found:
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not [name for name in modules if name.startswith(f"anomvae.{package}.")]
            if isinstance(node, ast.ImportFrom) and node.module == f"anomvae.{package}":
                assert {alias.name for alias in node.names} <= set(door.__all__)
        loaded_at_once = [node for node in at_import(path) if node.module == f"anomvae.{package}"]
        file = str(path.relative_to(PACKAGE))
        assert not loaded_at_once or room(path) in AT_IMPORT or file in AT_IMPORT_FILES


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
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        used = {call.attr for call in calls if isinstance(call.value, ast.Name) and call.value.id == "os"}
        assert not used & {"fsync", "rename", "replace", "link", "unlink", "remove", "ftruncate"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_numerics_neither_print_nor_read_the_clock(path: Path) -> None:
    if room(path) == "model" or str(path.relative_to(PACKAGE)) in NUMERICS:
        assert not {"time", "logging", "os", "io", "pathlib"} & set(imports(path))
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"print", "open"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_stay_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            said = (ast.get_docstring(node, clean=False) or "").count("\n") + 1
            lines = (node.end_lineno or 0) - node.lineno + 1 - said
            assert lines <= 40 or (str(path.relative_to(PACKAGE)), node.name) in LONG, (node.name, lines)


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
            "anomvae.synthesis",
            "scipy.special",
            "rich.progress",
            "anomvae.inbox.inbox",
            "anomvae.storage.ledger",
            "anomvae.report.page",
        }
        & modules
    )


def test_public_names_are_these() -> None:
    public = ["AnomVAE", "AnomvaeError", "Detector", "__version__", "fit", "generate", "load", "quality", "score"]
    assert anomvae.__all__ == public
    assert all(getattr(anomvae, name) is not None for name in anomvae.__all__)
