"""What the HTML pages share: templates that escape everything, one look, and a strict content policy."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_ROLE = re.compile(r"\{[a-z:]+\}`([^`<]*?)(?:\s*<[^`>]*>)?`")


@cache
def _environment() -> Environment:
    loader = PackageLoader("autograder", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["number"] = lambda value: f"{value:g}"
    environment.filters["sentence"] = sentence
    return environment


def asset(name: str) -> str:
    """The text of a style or a script."""
    return files("autograder").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def render(template: str, *, script: str = "", **values: Any) -> str:
    """A page from a template: its one style and its one script (if any) are named in the policy by their hashes."""
    style = asset("page.css")
    policy = f"default-src 'none'; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src {_hash(script)}"
    page = _environment().get_template(template)
    return page.render(style=Markup(style), script=Markup(script), policy=policy, **values)


def sentence(text: str) -> Markup:
    """A test's sentence as a sentence: a capital, a full stop, `code` set apart."""
    text = text.strip()
    if not text:
        return Markup("")
    first = re.match(r"[a-z]+(?=[ ,:;])", text)  # a name such as dV or d_model stays as it is
    return _inline(
        (text[:1].upper() + text[1:] if first else text)
        + ("" if text.endswith((".", "!", "?", "…")) else ".")
    )


def prose(text: str) -> Markup:
    """The course's own Markdown as paragraphs, with `code` set apart; everything else is plain text."""
    text = _ROLE.sub(r"\1", text)
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    return Markup("").join(Markup("<p>{}</p>").format(_inline(part)) for part in paragraphs)


def _inline(text: str) -> Markup:
    pieces, last = [], 0
    for found in _CODE.finditer(text):
        pieces += [
            escape(_plain(text[last : found.start()])),
            Markup("<code>{}</code>").format(found.group(2).strip()),
        ]
        last = found.end()
    return Markup("").join([*pieces, escape(_plain(text[last:]))])


def _plain(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"\1", text)
