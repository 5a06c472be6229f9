"""Write docs/schemas.json: the JSON Schemas of every record that `--json` prints or an outlet sends."""

import json
from pathlib import Path

import msgspec

from anomvae import comparison, deliveries, evaluation, explained, messages, results


def records() -> tuple[type[results.Record], ...]:
    """Every record that has a schema."""
    rooms = (results, deliveries, messages, comparison, evaluation, explained)
    return tuple(record for room in rooms for record in room.RECORDS)


def schemas() -> str:
    """The schemas as JSON text."""
    _, components = msgspec.json.schema_components(records(), ref_template="#/$defs/{name}")
    return json.dumps({"$defs": components}, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "schemas.json").write_text(schemas(), encoding="utf-8")
