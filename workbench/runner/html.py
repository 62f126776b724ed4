"""Fills the templates of every page we write and says what of others' HTML gets in.

All of it may come from a stranger. Templates escape every value that is not ``Markup``; HTML keeps what formats text,
tables and embedded pictures; and a page's policy refuses every request and every script that does not carry the page's
own random number.
"""

import re
from typing import Any

import bleach
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench.verdicts import COLOURS

_TEMPLATES = Environment(
    loader=PackageLoader("workbench.runner"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_TEMPLATES.globals["colours"] = COLOURS
_TAGS = (
    "a abbr b blockquote br caption center code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 "
    "h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead "
    "tr tt u ul var"
)
_ATTRIBUTES = "align alt class colspan height id open rowspan scope start style title width"
_PROPERTIES = "background border border-radius border-top margin opacity padding"  # more than the sanitizer's own


def render(template: str, nonce: str = "", **values: Any) -> Markup:
    """Return a filled template; in a whole page scripts that carry the nonce run, and nothing else does."""
    return Markup(_TEMPLATES.get_template(f"{template}.html").render(nonce=nonce, **values))


def clean(text: str) -> str:
    """Return HTML without anything that runs, asks the network, leads elsewhere by itself or takes input."""
    text = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", "", text)  # else their content would stand there as text
    styles = CSSSanitizer(ALLOWED_CSS_PROPERTIES | set(_PROPERTIES.split()))
    schemes = {"http", "https", "mailto", "data"}
    return str(bleach.clean(text, set(_TAGS.split()), _is_harmless, schemes, strip=True, css_sanitizer=styles))


def _is_harmless(tag: str, name: str, value: str) -> bool:
    """Tell whether an attribute only formats, links elsewhere for those who click, or holds a picture itself."""
    if name == "style":
        return "url(" not in value.lower()
    if (tag, name) == ("a", "href"):
        return value.startswith(("https://", "http://", "mailto:", "#"))
    return value.startswith("data:image/") if (tag, name) == ("img", "src") else name in _ATTRIBUTES.split()
