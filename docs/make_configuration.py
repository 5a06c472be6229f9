"""Write docs/configuration.md: every key of the configuration, from the settings and from the options over them."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec
from make_commands import every_command, key_of, options_of
from msgspec import inspect
from pages import NOTE, code, paragraph, table

from anomvae import cli, config
from anomvae.cli.command import variable

SECTIONS: dict[str, type[config.Settings]] = {
    "": config.Config,
    "schema": config.SchemaSettings,
    "schema.columns.NAME": config.ColumnSettings,
    "fit": config.FitSettings,
    "score": config.ScoreSettings,
    "generate": config.GenerateSettings,
    "watch": config.WatchSettings,
    "outlets": config.OutletSettings,
}
OF_ALL = {
    "model": "`-m`",
    "train": "`TRAIN...` of `fit`",
    "folder": "`INPUT` of `score`, `FOLDER` of `watch`",
    "out": "`-o`",
}
COLUMNS: dict[str, config.Kind] = {"ordered_at": "datetime", "amount": "numeric"}  # with all keys of a column
HEAD = """# Configuration

`-c FILE`, or `anomvae.toml` in the current folder, is TOML. An unknown key or a value of a wrong type ends with exit
code 2, with the nearest known key. Paths are relative to where the command runs. Examples with comments: `configs/`.

"Set by" names the option that wins over a key and the variable between the two (`commands.md`). A duration is written
`90`, `90s`, `10m`, `1h` or `7d`.
"""
SetBy = dict[tuple[type[config.Settings], str], list[str]]


def configuration() -> str:
    """The page."""
    over = _options()
    parts = [NOTE.format(source="anomvae/config.py"), HEAD]
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
        if kind is config.ColumnSettings:
            lines += [_column(column, of_kind) for column, of_kind in COLUMNS.items()]
            continue
        lines += [f"\n[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(_shown(*told))}" for key, told in config.keys_of(kind).items()]
    return "```toml\n" + "\n".join(lines) + "\n```\n"


def _column(name: str, kind: config.Kind) -> str:
    """The table of a column with every key that goes with its kind."""
    keys = config.keys_of(config.ColumnSettings)
    values = {key: _shown(*keys[key]) for key in config.GOES_WITH[kind]}
    return "\n" + config.column_toml(name, config.ColumnSettings(kind=kind, **values))


def _shown(field: msgspec.structs.FieldInfo, key: config.Key) -> Any:
    default = msgspec.to_builtins(field.default) if field.default is not msgspec.NODEFAULT else None
    return key.example if default in (None, (), []) else default


def _section(name: str, kind: type[config.Settings], over: SetBy) -> str:
    title = f"`[{name}]`" if name else "The head of the file"
    told = paragraph(kind.__doc__).removeprefix(f"`[{name}]`: ")
    rows = [
        [
            code(field.name),
            " ".join(filter(None, (_type_of(inspect.type_info(field.type)), _limits(field, key)))),
            code(_default(field)),
            OF_ALL.get(field.name, "") if name == "" else ", ".join(over.get((kind, field.name), ())),
            key.meaning,
        ]
        for field, key in config.keys_of(kind).values()
    ]
    return f"\n## {title}\n\n{told[0].upper()}{told[1:]}\n\n" + table(
        ["key", "value", "default", "set by", "meaning"], rows
    )


def _default(field: msgspec.structs.FieldInfo) -> str:
    empty = field.default in (None, (), "") or field.default is msgspec.NODEFAULT
    return "" if empty else json.dumps(msgspec.to_builtins(field.default))


def _type_of(kind: Any) -> str:
    if isinstance(kind, inspect.Metadata):
        return (kind.extra_json_schema or {}).get("title") or _type_of(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_type_of(one) for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(code(json.dumps(value)) for value in sorted(kind.values, key=str))
    if isinstance(kind, inspect.VarTupleType):
        return f"list of {_type_of(kind.item_type)}"
    words = {"IntType": "integer", "FloatType": "number", "StrType": "text", "BoolType": "`true`, `false`"}
    return words[type(kind).__name__]


def _limits(field: msgspec.structs.FieldInfo, key: config.Key) -> str:
    """What a value may be, beyond its type."""
    if key.limits:
        return f"({key.limits})"
    kinds = inspect.type_info(field.type)
    kinds = kinds.types if isinstance(kinds, inspect.UnionType) else [kinds]
    kinds = [kind.type if isinstance(kind, inspect.Metadata) else kind for kind in kinds]
    words = {"ge": "from", "gt": "above", "le": "at most", "lt": "below", "min_length": "at least"}
    found = [(word, getattr(kind, name, None)) for kind in kinds for name, word in words.items()]
    told = ", ".join(f"{word} {value}" for word, value in found if value is not None)
    return f"({told})" if told else ""


def _options() -> SetBy:
    """The option and the variables that set each key, of keys that have one."""
    found: SetBy = {}
    with click.Context(cli.root, info_name="anomvae", auto_envvar_prefix="ANOMVAE") as top:
        for context in every_command(top):
            for option in options_of(context):
                if key := key_of(str(context.info_name), option):
                    found.setdefault(key, [code(option.opts[0])]).append(code(variable(context, option)))
    return found


if __name__ == "__main__":
    (Path(__file__).parent / "configuration.md").write_text(configuration(), encoding="utf-8")
