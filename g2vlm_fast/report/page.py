"""One self-contained HTML page: no script, style or picture from anywhere else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

from g2vlm_fast.report.pictures import Picture

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
$script
</body>
</html>
"""
)


@dataclass(frozen=True)
class AnswerCard:
    """A question, its answer, and a picture of what is meant."""

    question: str
    answer: str
    notes: tuple[str, ...] = ()
    picture: Picture | None = None


@dataclass(frozen=True)
class Table:
    """A table; the columns in ``numbers`` are set flush right."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: tuple[int, ...] = ()
    dots: list[tuple[int, int, int]] | None = None  # a colour for each row


@dataclass(frozen=True)
class Section:
    """A chapter of the page; parts are shown in the order of the fields."""

    title: str
    paragraphs: tuple[str, ...] = ()
    quote: str = ""
    points: tuple[str, ...] = ()
    cards: tuple[AnswerCard, ...] = ()
    pictures: tuple[tuple[Picture, str], ...] = ()  # side by side, each with a caption
    wide_pictures: tuple[tuple[Picture, str], ...] = ()
    table: Table | None = None
    note: str = ""


@dataclass(frozen=True)
class Page:
    """Everything the report shows."""

    kicker: str
    title: str
    lead: str
    facts: list[tuple[str, str]]
    viewer: str  # JSON of viewer_data
    still: Picture  # shown where WebGL is not
    sections: list[Section]
    warnings: tuple[str, ...] = ()
    footer: tuple[str, ...] = field(default=())


def to_html(page: Page) -> str:
    """Return the page as one HTML text."""
    body = [
        f'<header><p class="kicker">{escape(page.kicker)}</p><h1>{escape(page.title)}</h1>'
        f'<p class="lead">{escape(page.lead)}</p></header>',
        _viewer(page),
        _facts(page.facts),
    ]
    if page.warnings:
        body.append('<div class="warning">' + "".join(map(_paragraph, page.warnings)) + "</div>")
    body.extend(map(_section, page.sections))
    body.append("<footer>" + "".join(map(_paragraph, page.footer)) + "</footer>")
    resources = files("g2vlm_fast.report")
    script = (
        f'<script type="application/json" id="viewer-data">{page.viewer}</script>\n'
        f"<script>{(resources / 'viewer.js').read_text(encoding='utf-8')}</script>"
    )
    return _PAGE.substitute(
        title=escape(page.title),
        style=(resources / "style.css").read_text(encoding="utf-8"),
        body="\n".join(body),
        script=script,
    )


def picture_source(picture: Picture) -> str:
    """A picture as a data URI: JPEG, as reports hold many photographs."""
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(picture).save(memory, "JPEG", quality=88, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(memory.getvalue()).decode()


def _viewer(page: Page) -> str:
    return (
        '<div id="viewer"><canvas></canvas>'
        f'<img class="still" alt="The reconstruction" src="{picture_source(page.still)}">'
        '<div class="hint"><span>Drag to turn, scroll to zoom</span>'
        '<span><label><input type="checkbox" name="predicted"> predicted points</label>'
        '<label><input type="checkbox" name="boxes" checked> objects</label></span></div></div>'
    )


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
    )
    return f'<dl class="facts">{cells}</dl>'


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.title)}</h2>"]
    parts.extend(map(_paragraph, section.paragraphs))
    if section.quote:
        parts.append(f"<blockquote>{escape(section.quote)}</blockquote>")
    if section.points:
        parts.append("<ul>" + "".join(f"<li>{escape(p)}</li>" for p in section.points) + "</ul>")
    if section.cards:
        parts.append('<div class="cards">' + "".join(map(_card, section.cards)) + "</div>")
    if section.pictures:
        figures = "".join(_figure(*picture) for picture in section.pictures)
        parts.append(f'<div class="pair">{figures}</div>')
    parts.extend(_figure(*picture) for picture in section.wide_pictures)
    if section.table is not None:
        parts.append(_table(section.table))
    if section.note:
        parts.append(f'<p class="note">{escape(section.note)}</p>')
    return "\n".join([*parts, "</section>"])


def _figure(picture: Picture, caption: str) -> str:
    return (
        f'<figure><img alt="{escape(caption)}" src="{picture_source(picture)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _card(card: AnswerCard) -> str:
    picture = ""
    if card.picture is not None:
        source = picture_source(card.picture)
        picture = f'<img alt="Where the answer points" src="{source}">'
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in card.notes)
    return (
        f'<div class="card"><p class="question">{escape(card.question)}</p>'
        f'<p class="answer">{escape(card.answer)}</p>{notes}{picture}</div>'
    )


def _table(table: Table) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="number">{escape(cell)}</{tag}>'
            if column in table.numbers
            else f"<{tag}>{escape(cell)}</{tag}>"
            for column, cell in enumerate(row)
        )

    rows = []
    for number, row in enumerate(table.rows):
        line = cells("td", row)
        if table.dots is not None:
            red, green, blue = table.dots[number]
            dot = f'<span class="dot" style="background:rgb({red},{green},{blue})"></span>'
            line = line.replace("<td>", f"<td>{dot}", 1)
        rows.append(f"<tr>{line}</tr>")
    head = cells("th", table.columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
