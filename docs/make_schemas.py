"""Write docs/schemas.json: the JSON Schemas of every record that `--json` prints or an outlet sends."""

import json
from pathlib import Path

import msgspec

from anomvae.quality.records import QUALITY_RECORDS
from anomvae.records import folder, results, schema
from anomvae.synthesis.records import GENERATE_RECORDS


def records() -> tuple[type[results.Record], ...]:
    """Every record that has a schema, in the order in which docs/formats.md lists them."""
    return (
        *schema.SCHEMA_RECORDS,
        *results.RECORDS,
        *folder.RECORDS,
        *folder.MESSAGE_RECORDS,
        *GENERATE_RECORDS,
        *QUALITY_RECORDS,
        *results.EVALUATION_RECORDS,
        *results.EXPLAIN_RECORDS,
        *results.PAGE_RECORDS,
    )


def schemas() -> str:
    """The schemas as JSON text."""
    _, components = msgspec.json.schema_components(records(), ref_template="#/$defs/{name}")
    return json.dumps({"$defs": components}, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "schemas.json").write_text(schemas(), encoding="utf-8")
