"""Markup by typed calls: whatever is not ``Html`` is text from somewhere and is escaped.

The same calls make HTML and SVG, well-formed as XML. Text passes ``printable`` first, so neither
markup nor a control character from outside reaches the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from monitor.printable import printable

TEXT_LIMIT = 4000  # characters of one piece of text; columns clip far earlier
_ATTRIBUTE_LIMIT = 1_000_000  # an SVG path is an attribute


class Html(str):
    """Markup made in this package."""

    __slots__ = ()


Child: TypeAlias = str | Iterable["Child"] | None
Value: TypeAlias = str | int | float | bool | None


def text(raw: str, limit: int = TEXT_LIMIT) -> Html:
    """``raw`` as inert text of at most ``limit`` characters."""
    return Html(escape(printable(raw, limit), quote=True))


def el(tag: str, *children: Child, **attributes: Value) -> Html:
    """``<tag …>children</tag>``. ``class_`` is class, ``aria_label`` aria-label; None leaves one out."""
    return Html(f"<{tag}{_attributes(attributes)}>{join(children)}</{tag}>")


def leaf(tag: str, **attributes: Value) -> Html:
    """An element without content: ``<tag …/>``."""
    return Html(f"<{tag}{_attributes(attributes)}/>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other, each escaped unless it is markup already."""
    return Html("".join(_one(c) for c in children))


def _one(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    return text(child) if isinstance(child, str) else join(child)


def _attributes(attributes: dict[str, Value]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )


def _value(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if value is True:
        return ""
    return escape(printable(str(value), _ATTRIBUTE_LIMIT), quote=True)
