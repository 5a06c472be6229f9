"""Fill in the tables of docs/formats.md: columns of results, records of --json, fields of the files of a run."""

import re
from pathlib import Path
from typing import Any

import msgspec
from make_schemas import records
from pages import code, filled, paragraph, table

from anomvae.folder.database import MIGRATIONS
from anomvae.records.folder import HealthResult, Manifest, Quarantined
from anomvae.records.results import Reason, Record, RowResult
from anomvae.store.model_file import Document
from anomvae.store.tensors import DTYPES
from anomvae.table.writer import SCORE_COLUMNS

PAGE = Path(__file__).parent / "formats.md"
MEANT = {
    "line": ("integer", "physical line that the record starts on; the header is 1"),
    "score": ("number", "higher is more anomalous (`method.md`)"),
    "recon": ("number", "reconstruction error: the columns' deviances, summed"),
    "kl": ("number", "KL of the row's posterior, in nats"),
    "pvalue": ("number", "chance of such a score among normal rows"),
    "severity": ("number", "-10 log10 p, rounded down to tenths, at most 100"),
    "flag": ("`true`, `false`", "p <= alpha"),
    "top": ("text", "the column to blame; empty where not flagged"),
    "reasons": ("see below", "why; empty where not flagged"),
}
PRINTED = {
    "schema": "`schema --json`",
    "fit": "`fit --json`",
    "score": "`score --json`",
    "file": "a delivery: `watch --json`, and within `score`",
    "row": "`alerts.jsonl`, and within `file`",
    "inspect": "`inspect --json`",
    "threshold": "`threshold ... --json`",
    "error": "any command with `--json` that fails",
    "manifest": "`results/ID.manifest.json`",
    "quarantined": "`quarantine/ID.reason.json`, `watch --json`",
    "health": "`health.json`",
    "stopped": "the last line of `watch --json`",
    "status": "`status --json`",
    "retry": "`retry --json`",
    "message": "what a webhook gets",
    "quality": "within `generate`",
    "generate": "`generate --json`",
    "evaluate": "`evaluate --json`",
    "explain": "`explain --json`",
    "page": "`report --json`",
}


def tables() -> dict[str, str]:
    """Every table of the page by its name."""
    return {
        "columns": table(
            ["column", "value", ""], [[code(name), *MEANT[name.removeprefix("_av_")]] for name in SCORE_COLUMNS]
        ),
        "reasons": fields(Reason),
        "kinds": table(["schema", "where", "what"], [_kind(record) for record in records() if _tag(record)]),
        "row": fields(RowResult),
        "manifest": fields(Manifest),
        "quarantined": fields(Quarantined),
        "health": fields(HealthResult),
        "document": fields(Document),
        "dtypes": ", ".join(code(name) for name in DTYPES) + "\n",
        "ledger": _ledger(),
    }


def fields(kind: Any) -> str:
    """What a record is, and its fields."""
    rows = [[code(field.encode_name), _type_of(field.type)] for field in msgspec.structs.fields(kind)]
    tag = _tag(kind)
    return f"{paragraph(kind.__doc__)}\n\n" + table(
        ["field", "type"], [["`schema`", code(tag)], *rows] if tag else rows
    )


def _kind(record: type[Record]) -> list[str]:
    tag = _tag(record)
    return [code(tag), PRINTED[tag.split(".")[1].split("/")[0]], paragraph(record.__doc__).split("\n\n")[0]]


def _tag(kind: Any) -> str:
    return kind.__struct_config__.tag or ""


def _type_of(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and not getattr(kind, "__args__", ()) else str(kind)
    return code(re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace(", ...", ""))


def _ledger() -> str:
    rows = []
    for version, migration in enumerate(MIGRATIONS, 1):
        made, dropped = (re.findall(rf"{verb} TABLE (\w+)", migration) for verb in ("CREATE", "DROP"))
        rows.append([str(version), ", ".join([*map(code, made), *(f"{code(name)} removed" for name in dropped)])])
    return table(["version", "tables"], rows)


def formats() -> str:
    """The page."""
    return filled(PAGE.read_text(encoding="utf-8"), tables())


if __name__ == "__main__":
    PAGE.write_text(formats(), encoding="utf-8")
