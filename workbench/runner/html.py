"""The frame of every page we write and what of others' HTML it lets in.

All of it may come from a stranger. Values are escaped; HTML keeps what formats text, tables and embedded pictures;
and a page's policy refuses every request and every script that does not carry the page's own random number.
"""

import html
import re

import bleach
from bleach.css_sanitizer import ALLOWED_CSS_PROPERTIES, CSSSanitizer

STYLE = """
:root{color-scheme:light dark;--ink:#1a1a1a;--faint:#6b6b6b;--line:#ddd;--paper:#fff;--soft:#f5f5f2;--link:#0b5cad;
--wrong:#8a2f00}
@media (prefers-color-scheme:dark){:root{--ink:#e3e3df;--faint:#a3a3a0;--line:#3b3e43;--paper:#17191c;--soft:#22252a;
--link:#7db8f0;--wrong:#ff9d6b}}
body{font:16px/1.55 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:var(--ink);
background:var(--paper)}
a{color:var(--link)} summary{cursor:pointer} table{border-collapse:collapse;margin:1em 0;border:0}
th,td{text-align:left;padding:.35em 1em .35em 0;vertical-align:top} pre{overflow-x:auto;font-size:85%;line-height:1.4}
.error{border-left:4px solid #D55E00;padding-left:1em;color:var(--wrong)}
"""
_POLICY = (
    "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_TAGS = (
    "a abbr b blockquote br caption center code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 "
    "h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead "
    "tr tt u ul var"
)
_ATTRIBUTES = "align alt class colspan height id open rowspan scope start style title width"
_PROPERTIES = "background border border-radius border-top margin opacity padding"  # more than the sanitizer's own


def frame(title: str, style: str, body: str, scripts: str = "", nonce: str = "") -> str:
    """Return a whole page around a body that is HTML already; scripts carry the nonce, and nothing else runs."""
    policy = _POLICY.format(f"'nonce-{nonce}'" if nonce else "'none'")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}{style}</style></head><body>\n{body}\n{scripts}</body></html>\n"
    )


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
