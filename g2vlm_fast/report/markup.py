"""HTML put together from parts: what is not markup already is escaped on the way."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from g2vlm_fast.report.pictures import Picture

_QUALITY = 70  # of 100; coloured points and small print look the same as without loss
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
"""What a page may load: what it carries."""

_VOID = frozenset({"br", "img", "input", "meta"})


class Markup(str):
    """Text that is HTML; any other text is escaped where it enters a page."""

    __slots__ = ()


Part = str | None
"""A child of an element: markup, text, or nothing."""


def tag(element: str, /, *children: Part, **attributes: str | float | bool | None) -> Markup:
    """Return an element.

    Args:
        element: its name, such as ``"td"``.
        children: in order; text is escaped, None is left out.
        attributes: ``class_`` is written ``class`` and ``data_score`` ``data-score``; True stands
            alone, False and None are left out.
    """
    written = "".join(
        f" {_attribute(key)}"
        if value is True
        else f' {_attribute(key)}="{escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if element in _VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(children)}</{element}>")


def join(parts: Iterable[Part], between: str = "") -> Markup:
    """Return parts one after another, as one."""
    return Markup(escape(between).join(_escaped(part) for part in parts if part is not None))


@dataclass(frozen=True)
class Chapter:
    """A part of a page that links lead to: ``name`` is its id."""

    name: str
    title: str
    content: Markup


def chapter(name: str, title: str, *parts: Part) -> Chapter:
    """Return parts under a heading."""
    return Chapter(name, title, tag("section", tag("h2", title), *parts, id=name))


def contents(chapters: Iterable[Chapter]) -> Markup:
    """Return links to chapters."""
    links = (tag("a", chapter.title, href=f"#{chapter.name}") for chapter in chapters)
    return tag("nav", *links, aria_label="Contents")


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Return the few numbers that stand above everything else: (name, value)."""
    cells = (tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs)
    return tag("dl", *cells, class_="facts")


def picture_source(picture: Picture) -> str:
    """A picture as a data URI: WebP, which takes half of what JPEG does for the same to the eye."""
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(picture).save(memory, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(memory.getvalue()).decode()


def figure(picture: Picture, caption: str) -> Markup:
    """Return a picture with its caption."""
    height, width = picture.shape[:2]
    image = tag(
        "img", alt=caption, loading="lazy", width=width, height=height, src=picture_source(picture)
    )
    return tag("figure", image, tag("figcaption", caption))


def document(
    title: str, body: Markup, *, styles: Iterable[str] = (), scripts: Iterable[Markup] = ()
) -> str:
    """Return a whole page that needs nothing from elsewhere.

    Args:
        title: of the window.
        body: what is inside ``main``.
        styles: style sheets of this package beside ``style.css``, by file name.
        scripts: script elements, run when the page is there.
    """
    sheets = "\n".join(resource(name) for name in ("style.css", *styles))
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", Markup(sheets)),
        ],
        "\n",
    )
    content = join([tag("main", Markup(f"\n{body}\n")), *scripts], "\n")
    page = tag("html", tag("head", head), Markup("\n"), tag("body", content), lang="en")
    return f"<!doctype html>\n{page}\n"


def script(name: str) -> Markup:
    """Return a script of this package, by file name, as an element."""
    return tag("script", Markup(resource(name)))


def resource(name: str) -> str:
    """Return a text file of this package."""
    return (files("g2vlm_fast.report") / name).read_text(encoding="utf-8")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _escaped(part: str) -> str:
    return part if isinstance(part, Markup) else escape(part)
