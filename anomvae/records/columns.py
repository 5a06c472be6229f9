"""What is told of the columns of a training table: what each is, how it is written, and what does not fit."""

import msgspec

from anomvae.records.sentences import ReasonCode, Writing


class Misfits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cells of a column that cannot be read as what the column is: how many, and the first of them.

    `share` is that of all cells. The first stands in `file`, on `line`; `message` says what is wrong with it. `cell` is
    empty where no output may show it.
    """

    cells: int
    share: float
    file: str
    line: int
    cell: str
    message: str


class ColumnReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column of the training table and what became of it.

    `modelled` is false for a column left out; `reason` says why, or what is noteworthy about it, and `code` is its
    kind. `asked` is true where the user wanted the column left out; of any other column left out, `keep` is the TOML
    that keeps it, where something can. `writing` is how its cells are written, `misfits` are those that do not fit.
    `examples` are two cells. A model file has neither `examples` nor `misfits`.
    """

    name: str
    kind: str
    modelled: bool
    reason: str
    code: ReasonCode = ""
    asked: bool = False
    keep: str = ""
    writing: Writing = Writing()
    examples: tuple[str, ...] = ()
    misfits: Misfits | None = None
    levels: int | None = None
    missing_share: float = 0.0
    low: float | None = None
    high: float | None = None


def noteworthy(column: ColumnReport) -> str:
    """What is worth knowing of a column beside how it is written; of one that is left out nothing."""
    return column.reason if column.modelled and column.code not in ("dates", "open_dates") else ""


def misfits_text(misfits: Misfits) -> str:
    """The cells that do not fit, and the first of them, as a sentence."""
    cells = "1 cell" if misfits.cells == 1 else f"{misfits.cells:,} cells"
    verb = "does" if misfits.cells == 1 else "do"
    first = f"{misfits.file}:{misfits.line}: {misfits.message}"
    return f"{cells} ({share_text(misfits.share)}) {verb} not fit; the first: {first}"


def share_text(share: float) -> str:
    """A share in percent; one above 0 is never shown as 0."""
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else "< 0.1 %"
