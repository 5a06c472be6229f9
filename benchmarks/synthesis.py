"""make bench-synthesis: anomvae's synthetic rows, by the public commands, beside the kept figures of the peers.

    python -m benchmarks.synthesis [WORK]     WORK keeps splits, models and synthetic tables; a run goes on in it

Three seeds; every figure is `anomvae.quality` against held-out rows. Writes the table of docs/benchmarks.md and exits
with 1 where a goal is missed. The peers' figures come from `synthesis_peers.csv` (made once by `synthesis_peers.py`).
"""

import csv
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import anomvae
from benchmarks.page import write_section
from benchmarks.synthesis_data import LABELS, MIXED, SEEDS, write_splits

FIELDS = ("quality", "attainable", "c2st", "tstr", "copies", "nearer", "rare_kept", "missing_points")
HERE = Path(__file__).parent
PEERS = ("TVAE", "CTGAN")  # those that the goals name

Means = dict[tuple[str, str], dict[str, float]]  # by table and maker


def figures(work: Path, name: str, seed: int, synthetic: Path) -> dict[str, float]:
    """The figures of one synthetic table."""
    train, held = write_splits(work, name, seed)
    told = anomvae.quality(train, synthetic, held, label=LABELS[name], seed=seed)
    return {
        "quality": round(told.overall, 4),
        "attainable": round(told.attainable or 0.0, 4),
        "c2st": round(told.c2st.auc, 4) if told.c2st else float("nan"),
        "tstr": round(told.tstr.ratio, 4) if told.tstr and told.tstr.ratio is not None else float("nan"),
        "copies": told.copies,
        "nearer": round(told.nearer.share, 4) if told.nearer else float("nan"),
        "rare_kept": round(told.rare_kept / told.rare, 4) if told.rare else float("nan"),
        "missing_points": round(100 * told.missing_gap, 2),
    }


def generated(work: Path, name: str, seed: int) -> Path:
    """As many synthetic rows as training rows, by `anomvae fit` and `anomvae generate`."""
    train, _ = write_splits(work, name, seed)
    out, model = work / f"{name}-{seed}-anomvae.csv", work / f"{name}-{seed}.anomvae"
    if not out.exists():
        with train.open(newline="", encoding="utf-8") as file:
            rows = sum(1 for _ in csv.reader(file)) - 1
        command("fit", str(train), "-o", str(model), "--seed", str(seed), "-q")
        command("generate", "-m", str(model), "-n", str(rows), "-o", str(out), "--seed", str(seed), "-q")
    return out


def command(*words: str) -> None:
    """One anomvae command, in a process of its own."""
    subprocess.run([sys.executable, "-m", "anomvae", *words], check=True)


def measured(work: Path) -> list[dict[str, str]]:
    """A row of figures for every table and seed of anomvae."""
    rows = []
    for seed in SEEDS:
        for name in LABELS:
            start = time.monotonic()
            told = figures(work, name, seed, generated(work, name, seed))
            row = {"table": name, "seed": str(seed), "maker": "anomvae", **{k: str(v) for k, v in told.items()}}
            rows.append(row | {"sdmetrics": sdmetrics(work).get((name, str(seed), "anomvae"), "")})
            print(f"{name} seed {seed}: {told} {time.monotonic() - start:.0f} s", flush=True)
    return rows


def sdmetrics(work: Path) -> dict[tuple[str, ...], str]:
    """SDMetrics' own figures, where `synthesis_peers.py sdmetrics` has measured this folder."""
    path = work / "sdmetrics.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {tuple(row[:3]): row[3] for row in csv.reader(file)}


def kept() -> list[dict[str, str]]:
    """The peers' figures."""
    with (HERE / "synthesis_peers.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def means(rows: list[dict[str, str]]) -> Means:
    """Means over the seeds; `seeds` counts them."""
    grouped: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        grouped[row["table"], row["maker"]].append(row)
    out: Means = {}
    for key, group in grouped.items():
        fields = {field: [float(row[field]) for row in group if row[field]] for field in (*FIELDS, "sdmetrics")}
        out[key] = {field: sum(v) / len(v) if v else float("nan") for field, v in fields.items()}
        out[key] |= {"seeds": len(group), "copies": sum(fields["copies"])}
    return out


def goals(found: Means) -> Iterator[tuple[str, bool]]:
    """Every goal in words, and whether it is met."""
    for name in LABELS:
        ours = found[name, "anomvae"]
        yield f"{name}: copies {ours['copies']:.0f}, goal 0", ours["copies"] == 0
        low, high = (0.0, 0.60) if name in ("wine", "breast_cancer", "digit_1") else (0.48, 0.55)
        yield f"{name}: nearer {ours['nearer']:.3f}, goal {low} to {high}", low <= ours["nearer"] <= high
        missing = ours["missing_points"]
        yield f"{name}: missing rates within {missing:.2f} points, goal 1", missing <= 1
    for name in MIXED:
        ours, theirs = found[name, "anomvae"], [found[name, peer] for peer in PEERS if (name, peer) in found]
        bound = min(peer["c2st"] for peer in theirs) - 0.2
        yield f"{name}: C2ST {ours['c2st']:.3f}, goal at most {bound:.3f} (peers less 0.2)", ours["c2st"] <= bound
        best = max(peer["quality"] for peer in theirs)
        yield f"{name}: quality {ours['quality']:.3f}, goal above {best:.3f}", ours["quality"] > best
        yield f"{name}: TSTR ratio {ours['tstr']:.3f}, goal at least 0.97", ours["tstr"] >= 0.97
    told = found["breast_cancer", "anomvae"]["c2st"], found["wine", "anomvae"]["quality"]
    yield f"breast_cancer: C2ST {told[0]:.3f}, goal at most 0.70", told[0] <= 0.70
    yield f"wine: quality {told[1]:.3f}, goal at least 0.84", told[1] >= 0.84
    ones = found["digit_1", "anomvae"]["c2st"]
    yield f"digit_1: C2ST {ones:.3f}, goal at most 0.68", ones <= 0.68


def table(found: Means) -> str:
    """The figures as Markdown, one row for each table and maker."""
    heads = (
        "table",
        "maker",
        "seeds",
        "C2ST",
        "quality",
        "SDMetrics",
        "TSTR",
        "nearer %",
        "copies",
        "rare kept %",
        "missing",
    )
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name in LABELS:
        for maker in ("anomvae", "TVAE", "CTGAN", "GaussianCopula"):
            if (name, maker) in found:
                one = found[name, maker]
                cells = [
                    name,
                    f"**{maker}**" if maker == "anomvae" else maker,
                    f"{one['seeds']:.0f}",
                    *(f"{one[field]:.3f}" for field in ("c2st", "quality", "sdmetrics", "tstr")),
                    f"{100 * one['nearer']:.1f}",
                    f"{one['copies']:.0f}",
                    f"{100 * one['rare_kept']:.0f}",
                    f"{one['missing_points']:.1f}",
                ]
                lines.append("| " + " | ".join("-" if cell == "nan" else cell for cell in cells) + " |")
    return "\n".join(lines)


def main(work: Path) -> int:
    """Measure, write, compare with the goals; 1 where one is missed."""
    work.mkdir(parents=True, exist_ok=True)
    found = means([*measured(work), *kept()])
    write_section("synthesis", table(found) + "\n")
    missed = [goal for goal, met in goals(found) if not met]
    for goal, met in goals(found):
        print(f"{'met   ' if met else 'MISSED'} {goal}")
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder)))
