"""The settings: every key of the configuration with its type, its default and its help.

A key stands here once. The command line makes its options from these tables (`cli/options.py`), and the documentation
makes its pages from them (`docs/make_commands.py`, `docs/make_configuration.py`). TOML is read here; an unknown key is
an error that names the nearest known one. The command line lays flags and `ANOMVAE_*` variables over these values
(flags > environment > file > defaults).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import msgspec
from msgspec import Meta

from anomvae.errors import UsageError
from anomvae.formats import FORMATS

if TYPE_CHECKING:
    from anomvae.config_errors import Spell

    OutputFormat = str
else:
    OutputFormat = Literal[tuple(FORMATS)]

Alpha = Annotated[float, Meta(gt=0, le=0.5, description="the share of normal rows that may be flagged")]
Share = Annotated[float, Meta(ge=0, lt=0.5, description="the share of the training rows that may be anomalies")]
Positive = Annotated[int, Meta(ge=1)]
Duration = Annotated[str, Meta(title="duration")]
Kind = Literal["numeric", "integer", "categorical", "boolean", "datetime", "counter", "ignore"]

OF_NUMBERS = ("decimal", "thousands", "prefix", "suffix", "negative", "gaps")
GOES_WITH: dict[Kind, tuple[str, ...]] = {  # keys of a column beside its kind
    "numeric": OF_NUMBERS,
    "integer": OF_NUMBERS,
    "counter": OF_NUMBERS,
    "datetime": ("format", "gaps"),
    "boolean": ("gaps",),
    "categorical": (),
    "ignore": (),
}


class Key(msgspec.Struct, frozen=True):
    """The documentation of a key, for the help of the option that sets it and for the pages of the manual.

    Args:
        meaning: what the key is for, in a sentence.
        value: what stands for the value in the help of the option; without it, the type does.
        default: what happens without the key, where its default value does not say it; empty: the help says nothing.
        option: how the option is declared, where that is not `--NAME`; a second word names its parameter.
        help: the help of the option, where the option is the contrary of the key.
        example: a value for the documentation, of keys without a default.
        limits: what is allowed, where that is more than the bounds of the type.
    """

    meaning: str
    value: str | None = None
    default: str | None = None
    option: tuple[str, ...] = ()
    help: str = ""
    example: Any = None
    limits: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the configuration file."""


class ColumnSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[schema.columns.NAME]`: what a column is, where guessing is not wanted.

    `format` is for datetime columns; what follows it is for numbers, and what is not stated is found from the cells.
    """

    kind: Annotated[Kind, Key("What the column is.", example="datetime")]
    format: Annotated[str | None, Key("How its dates are written, in the manner of strptime.", example="%d.%m.%Y")] = (
        None
    )
    decimal: Annotated[Literal[".", ","] | None, Key("Decimal sign of its numbers.", example=",")] = None
    thousands: Annotated[str | None, Key("Thousands separator of its numbers.", example=".")] = None
    prefix: Annotated[str | None, Key("What stands before its numbers, with its spaces.", example="$ ")] = None
    suffix: Annotated[str | None, Key("What stands behind its numbers, with its spaces.", example=" EUR")] = None
    negative: Annotated[
        Literal["minus", "unicode_minus", "parentheses", "trailing"] | None,
        Key("How negative numbers are written.", example="parentheses"),
    ] = None
    gaps: Annotated[tuple[str, ...], Key("Texts that stand for a missing value.", example=("-", "#N/A"))] = ()

    def __post_init__(self) -> None:
        allowed = {"kind", *GOES_WITH[self.kind]}
        strange = [name for name in self.__struct_fields__ if name not in allowed and getattr(self, name) is not None]
        wrong = [name for name in strange if getattr(self, name) != ()]
        if wrong:
            known = f"may have {', '.join(GOES_WITH[self.kind])}" if GOES_WITH[self.kind] else "has no other key"
            raise ValueError(f"'{wrong[0]}' does not go with kind '{self.kind}', which {known}")


class SchemaSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[schema]`: columns to leave out (`drop`), to keep but not model (`id`), to mask (`redact`), to type by hand."""

    drop: Annotated[tuple[str, ...], Key("Leave a column out.", "COL", example=("customer",))] = ()
    id: Annotated[
        tuple[str, ...],
        Key("An identifier: kept in results, not modelled.", "COL", option=("--id", "ids"), example=("order_id",)),
    ] = ()
    redact: Annotated[
        tuple[str, ...], Key("Columns whose cells no output may show (`outlets.md`).", example=("email",))
    ] = ()
    columns: dict[str, ColumnSettings] = {}


class Dialect(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How text becomes cells; kept in the model so that every later command reads alike."""

    encoding: Annotated[str, Key("Text encoding.")] = "utf-8"
    delimiter: Annotated[
        str,
        Meta(pattern=r"^(?:auto|.)\Z"),
        Key(
            "Field delimiter; found in the first training file: comma, semicolon, tab or pipe.",
            "CHAR",
            limits="one character, or `auto`",
        ),
    ] = "auto"
    decimal: Annotated[Literal["auto", ".", ","], Key("Decimal sign, . or ,", "TEXT")] = "auto"
    thousands: Annotated[Literal["auto", "", ",", ".", " ", "'", "_"], Key("Thousands separator.", "TEXT")] = "auto"
    skip_lines: Annotated[
        Literal["auto"] | Annotated[int, Meta(ge=0)],
        Key("Lines before the header; found in every file.", "N|auto"),
    ] = "auto"
    units_lines: Annotated[
        Literal["auto"] | Annotated[int, Meta(ge=0, le=9)],
        Key("Lines of units or kinds under the header, at most; found in the first training file.", "N|auto"),
    ] = "auto"

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding '{self.encoding}' is none that Python knows, such as utf-8 or cp1252") from None

    @property
    def settled(self) -> Self:
        """The same with what holds where nothing is found in place of `auto`; how many lines to skip stays open."""
        usual = {"delimiter": ",", "decimal": ".", "thousands": "", "units_lines": 0}
        return msgspec.structs.replace(self, **{k: v for k, v in usual.items() if getattr(self, k) == "auto"})


class FitSettings(Dialect, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[fit]`: the training recipe. Defaults are the same for all data (docs/decisions.md)."""

    where: Annotated[
        tuple[str, ...],
        Key("Train on rows that meet this; repeat for AND.", "'COL OP VALUE'", example=("sex == F",)),
    ] = ()
    label: Annotated[str | None, Key("A label column: never shown to the model.", "COL", example="status")] = None
    normal: Annotated[
        str | None, Key("The label of normal rows; only these are trained on.", "VALUE", example="ok")
    ] = None
    group: Annotated[
        tuple[str, ...],
        Key(
            "Rows that share a value of COL belong together, in one fold; `none`: look for no such column.",
            "COL",
            example=("patient",),
        ),
    ] = ()
    alpha: Annotated[Alpha, Key("Accepted false-alarm rate.")] = 0.01
    contamination: Annotated[
        Share,
        Key(
            "Share of anomalies that may be among the training rows: leave it out, list rows to review.",
            "SHARE",
        ),
    ] = 0.0
    threshold: Annotated[Literal["auto"] | float, Key("Flag from this score on.", "auto|SCORE")] = "auto"
    hidden: Annotated[tuple[Positive, ...] | None, Key("Units of the hidden layers.", "64,64", example=(64, 64))] = None
    latent: Annotated[Literal["auto"] | Positive, Key("Latent dimensions.", "N|auto", default="")] = "auto"
    beta: Annotated[float, Meta(ge=0), Key("Weight of the KL term.")] = 0.03
    steps: Annotated[Literal["auto"] | Positive, Key("Training steps.", "N|auto", default="by the number of rows")] = (
        "auto"
    )
    batch: Annotated[Positive, Key("Rows of one step.")] = 128
    lr: Annotated[float, Meta(gt=0), Key("Learning rate.")] = 4.5e-3
    max_time: Annotated[
        Duration | None,
        Key("End training after this long, and the generator's as well.", "10m", example="10m"),
    ] = None
    max_rows: Annotated[int, Meta(ge=20), Key("Keep at most so many rows, evenly spread.")] = 200_000
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Key("Where to train.")] = "auto"
    seed: Annotated[int, Meta(ge=0), Key("Same data and seed: the same model, byte for byte.")] = 0
    generator: Annotated[
        bool,
        Key(
            "Whether the model can also make synthetic rows.",
            option=("--no-generator",),
            help="Only score with this model: it cannot make synthetic rows.",
        ),
    ] = True
    selftest: Annotated[
        bool,
        Key(
            "Whether to measure how well injected faults are found.",
            option=("--no-selftest",),
            help="Do not measure how well injected faults are found.",
        ),
    ] = True

    @property
    def by_hand(self) -> tuple[Literal["hidden", "latent", "steps"], ...]:
        """Which sizes are asked for."""
        sizes: tuple[Literal["hidden", "latent", "steps"], ...] = ("hidden", "latent", "steps")
        return tuple(name for name in sizes if getattr(self, name) not in (None, "auto"))

    @property
    def plain(self) -> bool:
        """Whether the layout was chosen by hand: then the network is the textbook's, with its columns as numbers."""
        return "hidden" in self.by_hand or "latent" in self.by_hand

    def dialect(self) -> Dialect:
        """The part of these settings that later commands must share."""
        return Dialect(**{name: getattr(self, name) for name in Dialect.__struct_fields__})

    def read_as(self, dialect: Dialect) -> "FitSettings":
        """The same settings with what was found of the dialect."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(dialect))


class ScoreSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[score]`: what a scoring run writes, tells and fails on."""

    emit: Annotated[Literal["all", "flagged"], Key("Which rows to write.")] = "all"
    top: Annotated[int, Meta(ge=0), Key("Worst rows to show a file.")] = 10
    alpha: Annotated[Alpha | None, Key("False-alarm rate of this run.", default="the model's", example=0.001)] = None
    fail_on: Annotated[
        Literal["never", "any", "critical", "file"],
        Key("What makes the exit code 1: a flagged row, a critical row or an anomalous file, or the file alone."),
    ] = "critical"
    on_schema: Annotated[Literal["strict", "warn"], Key("Extra columns: refuse or warn.")] = "warn"
    bad_rows: Annotated[Literal["reject", "quarantine"], Key("Unreadable rows: leave out, or refuse the file.")] = (
        "reject"
    )
    spreadsheet_safe: Annotated[bool, Key("Guard text cells that a spreadsheet would run.")] = False
    threads: Annotated[
        Literal["auto"] | Positive,
        Key("Threads that score a long file.", "N|auto", default="auto, at most 4"),
    ] = "auto"
    jobs: Annotated[
        int,
        Meta(ge=1, le=64),
        Key(
            "Processes that score several files at a time.",
            limits='from 1, at most 64; 1 with `engine = "ray"`',
        ),
    ] = 1
    engine: Annotated[Literal["local", "ray"], Key("Who scores: this machine, or a Ray cluster.")] = "local"
    address: Annotated[
        str | None,
        Key(
            "The Ray cluster.",
            "auto|HOST:PORT",
            default="RAY_ADDRESS, or one of this machine alone",
            example="auto",
        ),
    ] = None
    state: Annotated[
        str | None,
        Key(
            "A folder of this machine for ledger, log and quarantine, where -o is on a network file system.",
            "DIR",
            example="/var/lib/anomvae",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.engine == "ray" and self.jobs > 1:
            raise ValueError("jobs are processes of this machine; with engine ray, the cluster's CPUs decide")


class GenerateSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[generate]`: how synthetic rows are drawn, judged and spoilt.

    `anomalies` is the share of rows that get one labelled fault of the `kinds`.
    """

    where: Annotated[
        tuple[str, ...], Key("Rows that meet this; repeat for AND.", "'COL OP VALUE'", example=("sex == F",))
    ] = ()
    balance: Annotated[str | None, Key("Make what the rarer classes of a column lack.", "COL", example="sex")] = None
    to: Annotated[str, Key("Rows that every class should reach.", "majority|N")] = "majority"
    like: Annotated[
        str | None,
        Key("Complete each row of FILE: keep what is filled, make the rest.", "FILE", example="partial.csv"),
    ] = None
    temperature: Annotated[float, Meta(ge=0, le=10), Key("Below 1 more usual rows, above 1 more varied.")] = 1.0
    gate: Annotated[
        bool, Key("Replace rows unlike training and copies.", default="gate", option=("--gate/--no-gate",))
    ] = True
    anomalies: Annotated[float, Meta(ge=0, le=1), Key("Spoil this share of the rows.", "SHARE", default="")] = 0.0
    kinds: Annotated[
        tuple[str, ...],
        Key(
            "Faults: wild, swap, unit, dependency, category.",
            "wild,swap,...",
            default="all",
            example=("wild", "unit"),
        ),
    ] = ()
    truth: Annotated[bool, Key("Columns _av_kind and _av_column say what was spoilt.")] = False
    seed: Annotated[int, Meta(ge=0), Key("Same model and seed: the same rows.")] = 0


class WatchSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[watch]`: what counts as a delivery in a folder, and when it is complete. Shared by `score FOLDER`."""

    pattern: Annotated[tuple[str, ...], Meta(min_length=1), Key("Names that count.", "GLOB")] = (
        "*.csv",
        "*.csv.gz",
        "*.parquet",
    )
    recursive: Annotated[bool, Key("Look into folders inside, too.")] = False
    settle: Annotated[Duration, Key("A file is complete when still for so long.", "2s")] = "2s"
    rescan: Annotated[Duration, Key("Look into the folder at least so often.", "10s")] = "10s"
    existing: Annotated[
        Literal["score", "skip"],
        Key("Files that are there at the first start with this output folder."),
    ] = "score"
    after: Annotated[
        Literal["keep", "move"],
        Key("Leave judged files where they are, or move them to the output folder."),
    ] = "keep"
    ready: Annotated[
        str | None,
        Key(
            "A file is complete when NAME.done is there, and only then.",
            "marker:.done",
            example="marker:.done",
            limits="`marker:SUFFIX`, no slash in it",
        ),
    ] = None
    format: Annotated[OutputFormat, Key("Format of results.")] = "csv"
    observer: Annotated[Literal["auto", "native", "poll"], Key("Events of the system, or looking.")] = "auto"
    idle_exit: Annotated[Duration | None, Key("End when nothing has arrived for so long.", "30s", example="30s")] = None
    ui: Annotated[Literal["auto", "live", "plain"], Key("A live screen, or lines.")] = "auto"

    def marker(self) -> str | None:
        """The suffix that a producer gives a file's marker, from `--ready marker:SUFFIX`.

        Raises:
            UsageError: it has another form.
        """
        if self.ready is None:
            return None
        kind, _, suffix = self.ready.partition(":")
        if kind != "marker" or not suffix or "/" in suffix:
            raise UsageError(f"--ready '{self.ready}' is not marker:SUFFIX, for example marker:.done.")
        return suffix


class OutletSettings(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[outlets]`: who hears of what, of a watched folder. What is secret is named, as `env:NAME` or `file:PATH`.

    `on` is what is worth a message, as in `--fail-on`; quarantined files always are.
    """

    on: Annotated[Literal["any", "critical", "file"], Key("What is worth a message, as in `--fail-on`.")] = "critical"
    cooldown: Annotated[Duration, Key("Files wanting in the same way: one message in so long.")] = "10m"
    webhook: Annotated[str | None, Key("Where messages go as JSON.", example="env:ANOMVAE_WEBHOOK")] = None
    webhook_secret: Annotated[str | None, Key("What signs them.", example="file:/run/secrets/anomvae")] = None
    apprise: Annotated[
        tuple[str, ...], Key("Addresses of chats and mail, for apprise.", example=("env:ANOMVAE_APPRISE",))
    ] = ()
    ping: Annotated[str | None, Key("Where heartbeats go.", example="env:ANOMVAE_PING_URL")] = None
    metrics: Annotated[str | None, Key("The file of figures for Prometheus.", example="anomvae.prom")] = None

    def any(self) -> bool:
        """Whether there is an outlet at all."""
        return bool(self.webhook or self.apprise or self.ping or self.metrics)


S = TypeVar("S", bound=Settings)
T = TypeVar("T")


class Config(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole configuration file."""

    version: Annotated[Literal[1], Key("Of the format of this file.")] = 1
    model: Annotated[
        str | None,
        Key("Model file that is written by `fit` and read by all others.", example="model.anomvae"),
    ] = None
    train: Annotated[tuple[str, ...], Key("Training files, or folders of them.", example=("normal",))] = ()
    folder: Annotated[str | None, Key("The watched folder.", example="incoming")] = None
    out: Annotated[str | None, Key("Where `score` and `watch` write.", example="anomvae-out")] = None
    schema: SchemaSettings = SchemaSettings()
    fit: FitSettings = FitSettings()
    score: ScoreSettings = ScoreSettings()
    generate: GenerateSettings = GenerateSettings()
    watch: WatchSettings = WatchSettings()
    outlets: OutletSettings = OutletSettings()


def read_config(path: Path) -> Config:
    """Read and check a TOML configuration file.

    Raises:
        UsageError: the file is missing, is not TOML, or has an unknown key or a value of a wrong type.
    """
    import tomllib  # only a configuration file needs it

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8, as TOML must be (byte {error.start:,}).") from error
    except tomllib.TOMLDecodeError as error:
        said, _, place = str(error).rstrip(")").partition(" (at ")
        line = "".join(f":{word}" for word in place.replace(",", "").split() if word.isdigit())
        raise UsageError(f"{path}{line}: is not valid TOML: {said}.") from error
    refuse_unknown(document, Config, str(path))
    return build(Config, document, _spelled_in(path))


def _spelled_in(path: Path) -> "Spell":
    def spell(keys: tuple[str, ...], value: Any) -> str:
        from anomvae import config_errors

        if value is None:
            return f"{path}: [{'.'.join(keys)}]"
        table = f"[{'.'.join(keys[:-1])}] " if len(keys) > 1 else ""
        return f"{path}: {table}{keys[-1]} = {config_errors.shown(value)}"

    return spell


def build(kind: type[T], values: dict[str, Any], spell: "Spell") -> T:
    """Make settings of `kind` from plain values.

    Args:
        kind: the settings.
        values: by key.
        spell: how the user wrote a key and its value, for errors.

    Raises:
        UsageError: a value is not allowed.
    """
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        from anomvae import config_errors  # only an error needs it

        raise UsageError(f"{config_errors.validation_message(error, kind, values, spell)}.") from error


def changed(settings: S, values: dict[str, Any], spell: "Spell") -> S:
    """The same settings with `values` laid over them, checked again; arguments as of `build`."""
    return build(type(settings), {**msgspec.to_builtins(settings), **values}, spell)


def keys_of(kind: type[Settings]) -> dict[str, tuple[msgspec.structs.FieldInfo, Key]]:
    """The keys of a table in order, each with its field and its documentation; without the tables inside it."""
    found = {}
    for field in msgspec.structs.fields(kind):
        key = next((one for one in getattr(field.type, "__metadata__", ()) if isinstance(one, Key)), None)
        if key is not None:
            found[field.name] = (field, key)
    return found


def refuse_unknown(document: dict[str, Any], kind: Any, where: str, table: str = "") -> None:
    """Refuse keys that a table of the configuration does not have.

    Args:
        document: the table.
        kind: the settings that it should be.
        where: it stands, for the error.
        table: its name with a point behind it; empty for the whole file.

    Raises:
        UsageError: a key is unknown.
    """
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in document.items():
        if key not in known:
            from anomvae.config_errors import near

            raise UsageError(f"{where}: unknown key '{table}{key}'{near(key, known)}")
        if isinstance(value, dict) and isinstance(known[key], type) and issubclass(known[key], Settings):
            refuse_unknown(value, known[key], where, f"{table}{key}.")


def toml_value(value: Any) -> str:
    """A text, a number, a truth value or a list of these as TOML writes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON escapes what TOML escapes, but for one control character.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def column_toml(name: str, stated: ColumnSettings) -> str:
    """The table of a configuration file that states a column: its head, and a line for every key that is set."""
    values = {key: getattr(stated, key) for key in stated.__struct_fields__}
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if value is not None and value != ()]
    return "\n".join([f"[schema.columns.{toml_key(name)}]", *lines])


def toml_key(name: str) -> str:
    """The name of a column as a key of TOML: in quotes where it has to be."""
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else toml_value(name)


def seconds(text: str, name: str) -> float:
    """A duration such as `90`, `2s`, `10m`, `1h` or `7d`, in seconds; `name` is the setting's.

    Raises:
        UsageError: it is not a positive duration.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} '{text}' is not a duration; write for example 90s, 10m, 1h or 7d.")
    return value
