"""Write docs/configuration.md: every key of the configuration, from the settings and from the options over them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from make_commands import KEYS, TABLES, every_command, meaning_of, options_of
from msgspec import inspect
from pages import NOTE, code, paragraph, table

from anomvae import cli, settings
from anomvae.cli.command import variable

SECTIONS: dict[str, type[settings.Settings]] = {
    "": settings.Config,
    "schema": settings.SchemaSettings,
    "schema.columns.NAME": settings.ColumnSettings,
    "fit": settings.FitSettings,
    "score": settings.ScoreSettings,
    "generate": settings.GenerateSettings,
    "watch": settings.WatchSettings,
    "outlets": settings.OutletSettings,
}
OF_ALL = {
    "model": "`-m`",
    "train": "`TRAIN...` of `fit`",
    "folder": "`INPUT` of `score`, `FOLDER` of `watch`",
    "out": "`-o`",
}
DURATIONS = ("max_time", "settle", "rescan", "idle_exit", "cooldown")
BY_HAND = {  # checked where the settings are made, by more than a bound
    ("score", "jobs"): 'from 1, at most 64; 1 with `engine = "ray"`',
    ("fit", "delimiter"): "one character",
    ("watch", "ready"): "`marker:SUFFIX`, no slash in it",
}
MEANT = {  # of keys that no option sets, or sets to the contrary
    ("", "version"): "Of the format of this file.",
    ("", "model"): "Model file that is written by `fit` and read by all others.",
    ("", "train"): "Training files, or folders of them.",
    ("", "folder"): "The watched folder.",
    ("", "out"): "Where `score` and `watch` write.",
    ("schema", "redact"): "Columns whose cells no output may show (`outlets.md`).",
    ("schema.columns.NAME", "kind"): "What the column is.",
    ("schema.columns.NAME", "format"): "How its dates are written, in the manner of strptime.",
    ("fit", "generator"): "Whether the model can also make synthetic rows.",
    ("fit", "selftest"): "Whether to measure how well injected faults are found.",
    ("outlets", "on"): "What is worth a message, as in `--fail-on`.",
    ("outlets", "cooldown"): "Files wanting in the same way: one message in so long.",
    ("outlets", "webhook"): "Where messages go as JSON.",
    ("outlets", "webhook_secret"): "What signs them.",
    ("outlets", "apprise"): "Addresses of chats and mail, for apprise.",
    ("outlets", "ping"): "Where heartbeats go.",
    ("outlets", "metrics"): "The file of figures for Prometheus.",
}
EXAMPLES = {  # of keys without a default
    ("", "model"): "model.anomvae",
    ("", "train"): ["normal"],
    ("", "folder"): "incoming",
    ("", "out"): "anomvae-out",
    ("schema", "drop"): ["customer"],
    ("schema", "id"): ["order_id"],
    ("schema", "redact"): ["email"],
    ("schema.columns.NAME", "kind"): "datetime",
    ("schema.columns.NAME", "format"): "%d.%m.%Y",
    ("fit", "where"): ["sex == F"],
    ("fit", "label"): "status",
    ("fit", "normal"): "ok",
    ("fit", "hidden"): [64, 64],
    ("fit", "max_time"): "10m",
    ("score", "alpha"): 0.001,
    ("score", "address"): "auto",
    ("score", "state"): "/var/lib/anomvae",
    ("generate", "where"): ["sex == F"],
    ("generate", "balance"): "sex",
    ("generate", "like"): "partial.csv",
    ("generate", "kinds"): ["wild", "unit"],
    ("watch", "ready"): "marker:.done",
    ("watch", "idle_exit"): "30s",
    ("outlets", "webhook"): "env:ANOMVAE_WEBHOOK",
    ("outlets", "webhook_secret"): "file:/run/secrets/anomvae",
    ("outlets", "apprise"): ["env:ANOMVAE_APPRISE"],
    ("outlets", "ping"): "env:ANOMVAE_PING_URL",
    ("outlets", "metrics"): "anomvae.prom",
}
HEAD = """# Configuration

`-c FILE`, or `anomvae.toml` in the current folder, is TOML. An unknown key or a value of a wrong type ends with exit
code 2, with the nearest known key. Paths are relative to where the command runs. Examples with comments: `configs/`.

"Set by" names the option that wins over a key and the variable between the two (`commands.md`). A duration is written
`90`, `90s`, `10m`, `1h` or `7d`.
"""
Key = tuple[str, str]


def configuration() -> str:
    """The page."""
    over = _options()
    parts = [NOTE.format(source="anomvae/settings.py"), HEAD]
    parts += [_section(name, kind, over) for name, kind in SECTIONS.items()]
    return (
        "".join(parts)
        + "\n## Every key in one file\n\nWith its default, or an example where there is none.\n\n"
        + whole()
    )


def whole() -> str:
    """A TOML block with every key."""
    lines = []
    for name, kind in SECTIONS.items():
        lines += [f"\n[{name.replace('NAME', 'ordered_at')}]"] if name else []
        lines += [f"{field.name} = {json.dumps(_shown(name, field))}" for field in keys_of(kind)]
    return "```toml\n" + "\n".join(lines) + "\n```\n"


def keys_of(kind: type[settings.Settings]) -> Iterator[msgspec.structs.FieldInfo]:
    """The fields of a table that are keys, not tables."""
    for field in msgspec.structs.fields(kind):
        nested = isinstance(field.type, type) and issubclass(field.type, settings.Settings)
        if not nested and field.name != "columns":
            yield field


def _shown(section: str, field: msgspec.structs.FieldInfo) -> Any:
    default = msgspec.to_builtins(field.default) if field.default is not msgspec.NODEFAULT else None
    return EXAMPLES[section, field.name] if default in (None, (), []) else default


def _section(name: str, kind: type[settings.Settings], over: dict[Key, tuple[str, str]]) -> str:
    title = f"`[{name}]`" if name else "The head of the file"
    told = paragraph(kind.__doc__).removeprefix(f"`[{name}]`: ")
    rows = []
    for field in keys_of(kind):
        by, meaning = over.get((name, field.name), ("", ""))
        rows.append(
            [
                code(field.name),
                " ".join(filter(None, (_kind(field), _bounds(name, field)))),
                code(_default(field)),
                OF_ALL.get(field.name, "") if name == "" else by,
                MEANT.get((name, field.name)) or meaning,
            ]
        )
    return f"\n## {title}\n\n{told[0].upper()}{told[1:]}\n\n" + table(
        ["key", "value", "default", "set by", "meaning"], rows
    )


def _default(field: msgspec.structs.FieldInfo) -> str:
    empty = field.default in (None, (), "") or field.default is msgspec.NODEFAULT
    return "" if empty else json.dumps(msgspec.to_builtins(field.default))


def _kind(field: msgspec.structs.FieldInfo) -> str:
    if field.name in DURATIONS:
        return "duration"
    return _type_of(inspect.type_info(field.type))


def _type_of(kind: Any) -> str:
    if isinstance(kind, inspect.Metadata):
        return _type_of(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_type_of(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(code(json.dumps(value)) for value in sorted(kind.values, key=str))
    if isinstance(kind, inspect.VarTupleType):
        return f"list of {_type_of(kind.item_type)}"
    words = {"IntType": "integer", "FloatType": "number", "StrType": "text", "BoolType": "`true`, `false`"}
    return words[type(kind).__name__]


def _bounds(section: str, field: msgspec.structs.FieldInfo) -> str:
    if (section, field.name) in BY_HAND:
        return f"({BY_HAND[section, field.name]})"
    kinds = inspect.type_info(field.type)
    kinds = kinds.types if isinstance(kinds, inspect.UnionType) else [kinds]
    kinds = [kind.type if isinstance(kind, inspect.Metadata) else kind for kind in kinds]
    words = {"ge": "from", "gt": "above", "le": "at most", "lt": "below", "min_length": "at least"}
    found = [(word, getattr(kind, name, None)) for kind in kinds for name, word in words.items()]
    told = ", ".join(f"{word} {value}" for word, value in found if value is not None)
    return f"({told})" if told else ""


def _options() -> dict[Key, tuple[str, str]]:
    """The option and the variables of every key that has one, and its meaning."""
    sections = {kind: name for name, kind in SECTIONS.items()}
    found: dict[Key, list[str]] = {}
    meanings: dict[Key, str] = {}
    with click.Context(cli.root, info_name="anomvae", auto_envvar_prefix="ANOMVAE") as top:
        for context in every_command(top):
            for option in options_of(context):
                key = KEYS.get(str(option.name), str(option.name))
                for kind in TABLES.get(str(context.info_name), ()):
                    if key in kind.__struct_fields__:
                        at = (sections[kind], key)
                        found.setdefault(at, [code(option.opts[0])]).append(code(variable(context, option)))
                        meanings.setdefault(at, meaning_of(option))
    return {at: (", ".join(names), meanings[at]) for at, names in found.items()}


if __name__ == "__main__":
    (Path(__file__).parent / "configuration.md").write_text(configuration(), encoding="utf-8")
