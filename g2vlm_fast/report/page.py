"""One self-contained HTML page: no script, style or picture from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from g2vlm_fast.report.markup import (
    Markup,
    document,
    facts,
    figure,
    join,
    picture_source,
    script,
    tag,
)
from g2vlm_fast.report.pictures import Picture


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
        tag(
            "header",
            tag("p", page.kicker, class_="kicker"),
            tag("h1", page.title),
            tag("p", page.lead, class_="lead"),
        ),
        _viewer(page),
        facts(page.facts),
    ]
    if page.warnings:
        body.append(tag("div", *_paragraphs(page.warnings), class_="warning"))
    body += map(_section, page.sections)
    body.append(tag("footer", *_paragraphs(page.footer)))
    data = tag("script", Markup(page.viewer), type="application/json", id="viewer-data")
    return document(page.title, join(body, "\n"), scripts=(data, script("viewer.js")))


def _viewer(page: Page) -> Markup:
    still = tag("img", class_="still", alt="The reconstruction", src=picture_source(page.still))
    switches = (
        tag("label", tag("input", type="checkbox", name=name, checked=checked), f" {told}")
        for name, told, checked in (
            ("predicted", "predicted points", False),
            ("boxes", "objects", True),
        )
    )
    hint = tag(
        "div",
        tag("span", "Drag to turn, scroll to zoom"),
        tag("span", *switches),
        class_="hint",
    )
    return tag("div", tag("canvas"), still, hint, id="viewer")


def _paragraphs(texts: Iterable[str]) -> list[Markup]:
    return [tag("p", text) for text in texts]


def _section(section: Section) -> Markup:
    parts = [tag("h2", section.title), *_paragraphs(section.paragraphs)]
    if section.quote:
        parts.append(tag("blockquote", section.quote))
    if section.points:
        parts.append(tag("ul", *(tag("li", point) for point in section.points)))
    if section.cards:
        parts.append(tag("div", *map(_card, section.cards), class_="cards"))
    if section.pictures:
        pair = (figure(*captioned) for captioned in section.pictures)
        parts.append(tag("div", *pair, class_="pair"))
    parts += [figure(*captioned) for captioned in section.wide_pictures]
    if section.table is not None:
        parts.append(_table(section.table))
    if section.note:
        parts.append(tag("p", section.note, class_="note"))
    return tag("section", join(parts, "\n"))


def _card(card: AnswerCard) -> Markup:
    picture = None
    if card.picture is not None:
        picture = tag("img", alt="Where the answer points", src=picture_source(card.picture))
    return tag(
        "div",
        tag("p", card.question, class_="question"),
        tag("p", card.answer, class_="answer"),
        *(tag("p", note, class_="note") for note in card.notes),
        picture,
        class_="card",
    )


def _table(table: Table) -> Markup:
    def line(name: str, row: Sequence[str], dot: Markup | None = None) -> Markup:
        cells = [
            tag(
                name,
                dot if column == 0 else None,
                cell,
                class_="number" if column in table.numbers else None,
            )
            for column, cell in enumerate(row)
        ]
        return tag("tr", *cells)

    dots = [None] * len(table.rows) if table.dots is None else map(_dot, table.dots)
    rows = (line("td", row, dot) for row, dot in zip(table.rows, dots, strict=True))
    return tag(
        "div",
        tag("table", tag("thead", line("th", table.columns)), tag("tbody", *rows)),
        class_="scroll",
    )


def _dot(color: tuple[int, int, int]) -> Markup:
    red, green, blue = color
    return tag("span", class_="dot", style=f"background:rgb({red},{green},{blue})")
