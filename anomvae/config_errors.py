"""Messages about wrong settings: where a value stands, what is allowed there, and which known names are similar."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

MAX_LISTED = 8  # names in a message

# How the user wrote a key and its value, from the key's path.
Spell = Callable[[tuple[str, ...], Any], str]


def near(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a sentence about an unknown name.

    Args:
        name: the unknown name.
        known: names that are allowed.
        otherwise: what to say where no known name is similar; empty to list the first of them.

    Returns:
        `; did you mean 'X'?`, or a list, or a full stop alone.
    """
    import difflib  # only an error needs it

    names = list(known)
    lower = {one.strip().casefold(): one for one in names}
    found = lower.get(name.strip().casefold()) or next(iter(difflib.get_close_matches(name, names, 1)), None)
    if found:
        return f"; did you mean '{found}'?"
    if otherwise:
        return f"; {otherwise}."
    more = ", ..." if len(names) > MAX_LISTED else "."
    return f"; there are {', '.join(names[:MAX_LISTED])}{more}" if names else "."


def validation_message(error: msgspec.ValidationError, kind: Any, values: Mapping[str, Any], spell: Spell) -> str:
    """An error of msgspec about `values`, in the terms of the user.

    Args:
        error: what msgspec says.
        kind: the settings that the values should be.
        values: by key, tables inside as mappings.
        spell: how the user wrote a key and its value.
    """
    rule, _, place = str(error).partition(" - at ")
    info: Any = msgspec.inspect.type_info(kind)
    value: Any = values
    keys: list[str] = []
    for step in re.findall(r"\w+|\.\.\.", place):
        key = _culprit(info, value) if step == "..." else step
        info, value = _inside(info, key), _at(value, key)
        keys += [] if key.isdigit() else [key]
    if isinstance(info, msgspec.inspect.StructType) and isinstance(value, Mapping):
        return f"{spell(tuple(keys), None)}: {rule}"  # keys that do not go together: the rule is a sentence already
    each = "each must" if place.rstrip("`").endswith("]") else "must"
    return f"{spell(tuple(keys), value)}: {each} be {allowed(info)}"


def shown(value: Any) -> str:
    """A value as a configuration file would have it, short."""
    text = msgspec.json.encode(value).decode() if not isinstance(value, float) else f"{value:g}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def allowed(info: Any) -> str:
    """The values that a type allows, in words."""
    kinds = msgspec.inspect
    if isinstance(info, kinds.Metadata):
        description = (info.extra_json_schema or {}).get("description", "")
        return allowed(info.type) + (f", {description}" if description else "")
    if isinstance(info, kinds.UnionType):
        return ", or ".join(allowed(one) for one in info.types if not isinstance(one, kinds.NoneType))
    if isinstance(info, kinds.LiteralType):
        names = [f"'{name}'" if isinstance(name, str) else str(name) for name in info.values]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    if isinstance(info, kinds.IntType | kinds.FloatType):
        return ("a whole number" if isinstance(info, kinds.IntType) else "a number") + _bounds(info)
    if isinstance(info, kinds.VarTupleType):
        return f"a list of which each is {allowed(info.item_type)}"
    # The only pattern is that of a delimiter.
    texts = {"BoolType": "true or false", "StrType": "'auto', or one character" if _has_pattern(info) else "text"}
    return texts.get(type(info).__name__, "a table")


def _has_pattern(info: Any) -> bool:
    return getattr(info, "pattern", None) is not None


def _bounds(info: Any) -> str:
    words = {"gt": "above", "ge": "of at least", "lt": "below", "le": "up to"}
    found = [f"{word} {bound:g}" for name, word in words.items() if (bound := getattr(info, name)) is not None]
    return f" {' and '.join(found)}" if found else ""


def _inside(info: Any, key: str) -> Any:
    """The type of a key of a table, or of an item of a list; None where there is none."""
    kinds = msgspec.inspect
    if isinstance(info, kinds.StructType):
        return next((field.type for field in info.fields if field.encode_name == key), None)
    if isinstance(info, kinds.DictType):
        return info.value_type
    if isinstance(info, kinds.UnionType):
        return next((inside for one in info.types if (inside := _inside(one, key))), None)
    return info.item_type if isinstance(info, kinds.VarTupleType) else None


def _culprit(info: Any, values: Mapping[str, Any]) -> str:
    """The key of a table of tables whose value is at fault, which msgspec does not name."""
    for key, value in values.items():
        try:
            msgspec.convert(value, info.value_type.cls, strict=False)
        except msgspec.ValidationError:
            return key
    return ""


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else value
