"""One offline HTML page: the frame and the style sheet that every page shares.

No script, no font, no picture from elsewhere; light and dark, screen and paper. Every value that a template prints
goes through `sanitize` and is escaped; only the pictures of `svg.py` are markup. The only door to jinja2.
"""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from anomvae.report.sanitize import sanitize


def render(template: str, **values: Any) -> str:
    """A page from a template of this package and its values."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("anomvae.report"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: Any) -> Any:
    return value if isinstance(value, Markup) else sanitize(value, 400)
