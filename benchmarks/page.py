"""docs/benchmarks.md: a section that a benchmark writes, between two marks."""

from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def write_section(name: str, text: str) -> None:
    """Put `text` between the marks of `make bench-NAME`, at the page's end where there are none yet."""
    begin, end = f"<!-- {name}: written by make bench-{name} -->", f"<!-- end of {name} -->"
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    tail = rest.partition(end)[2] if rest else "\n"
    PAGE.write_text(f"{head}{begin}\n{text}{end}{tail}", encoding="utf-8")
