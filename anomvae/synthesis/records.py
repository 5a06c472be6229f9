"""The results of `generate` as frozen records that can be written as JSON; nothing is computed here."""

from anomvae.quality import QualityResult
from anomvae.records.results import Record


class Picture(Record, frozen=True, kw_only=True):
    """A row as a square image: `cells` as written, row by row, and their `shades` from 0 to 1."""

    side: int
    cells: tuple[str, ...]
    shades: tuple[float, ...]


class Added(Record, frozen=True, kw_only=True):
    """Rows made of one class, or rows spoilt by one kind of fault."""

    name: str
    rows: int


class GenerateResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.generate/1"):
    """Synthetic rows: how many, under which conditions, and how many the privacy filter refused.

    `unlike` rows were refused because the detector finds them unlike training, `copies` because they repeat a
    training row; every refused row was replaced. `kept` rows fix so many cells (`like`) that no replacement
    passed; they are written all the same. `classes` are the rows made for each class (`balance`). `quality`
    compares them with real rows (`--against`).
    """

    model: str
    model_id: str
    rows: int
    conditions: str
    seed: int
    temperature: float
    gate: bool
    drawn: int
    unlike: int
    copies: int
    kept: int
    classes: tuple[Added, ...]
    anomalies: tuple[Added, ...]
    typical: Picture | None
    pictures: tuple[Picture, ...]
    output: str
    quality: QualityResult | None = None
    seconds: float


GENERATE_RECORDS = (GenerateResult,)
