"""Confusion matrices drawn: rows are the truth, each row's shades are shares of its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..benchmark.record import Measurement, Record
from .classes import class_name
from .format import shorten

_PAPER, _INK, _QUIET, _RULE = (255, 255, 255), (20, 24, 28), (86, 96, 104), (216, 221, 225)
_SHADES = ((255, 255, 255), (181, 211, 227), (43, 123, 163), (0, 79, 115))  # shares 0, 1/3, 2/3, 1
_WRITTEN = 24  # classes: with more, cells are too small for their number
_CELL_PX = 34  # with numbers; the grid keeps its size when classes are many
_GRID_PX = 816  # of a matrix without numbers, at most
_GAP_PX = 24
_LABEL = 18  # characters of a class name
_LINE_PX = 16


def confusion_picture(record: Record, items: Sequence[Measurement]) -> Image.Image:
    """Return the matrices side by side as one RGB picture."""
    panels = [_panel(record, item) for item in items]
    across = min(len(panels), 2)
    width, height = panels[0].size
    down = -(-len(panels) // across)
    size = (across * width + (across + 1) * _GAP_PX, down * (height + _GAP_PX) + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    for index, panel in enumerate(panels):
        row, column = divmod(index, across)
        x, y = _GAP_PX + column * (width + _GAP_PX), _GAP_PX + row * (height + _GAP_PX)
        sheet.paste(panel, (x, y))
    return sheet


def shares(item: Measurement) -> NDArray[np.float64]:
    """Return (K,K) shares of each true class's pixels; NaN rows for classes without truth."""
    matrix = np.array(item.accuracy.confusion if item.accuracy else (), np.float64)
    total = matrix.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.divide(
        matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0
    )
    return found


def shade(share: float) -> tuple[int, int, int]:
    """Return the colour of a share 0..1, darker for more.

    >>> shade(0.0), shade(1.0)
    ((255, 255, 255), (0, 79, 115))
    """
    steps = len(_SHADES) - 1
    place = min(int(share * steps), steps - 1)
    weight = share * steps - place
    pairs = zip(_SHADES[place], _SHADES[place + 1], strict=True)
    red, green, blue = (round(a + (b - a) * weight) for a, b in pairs)
    return red, green, blue


def _panel(record: Record, item: Measurement) -> Image.Image:
    table = shares(item)
    count = len(table)
    cell = _CELL_PX if count <= _WRITTEN else max(3, _GRID_PX // count)
    names = [shorten(class_name(record, index), _LABEL) for index in range(count)]
    named = cell >= 10  # else the names would overlap
    font = ImageFont.load_default(min(12, max(9, cell - 2)))
    margin = int(max(font.getlength(name) for name in names)) + 10 if named else 10
    top = margin + 3 * _LINE_PX
    picture = Image.new("RGB", (margin + count * cell + 1, top + count * cell + 1), _PAPER)
    draw = ImageDraw.Draw(picture)
    title = ImageFont.load_default(14)
    draw.text((0, 0), _fitted(item.name, title, picture.width), _INK, title)
    rule = "rows truth, columns predicted, % of the row"
    draw.text((0, _LINE_PX + 4), rule, _QUIET, ImageFont.load_default(11))
    _cells(draw, table, (margin, top), cell)
    if named:
        _names(picture, names, (margin, top), cell, font)
    return picture


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> str:
    """Cut the middle out of a text until it is at most as wide."""
    limit = len(text)
    while limit > 4 and font.getlength(shorten(text, limit)) > width_px:
        limit -= 1
    return shorten(text, limit)


def _cells(
    draw: ImageDraw.ImageDraw, table: NDArray[np.float64], corner: tuple[int, int], cell: int
) -> None:
    font = ImageFont.load_default(11)
    for (row, column), share in np.ndenumerate(table):
        x, y = corner[0] + column * cell, corner[1] + row * cell
        known = bool(np.isfinite(share))
        fill = shade(float(share)) if known else _PAPER
        draw.rectangle((x, y, x + cell, y + cell), fill, _RULE if cell > 6 else None)
        text = f"{100 * share:.0f}" if known and share >= 0.005 else "" if known else "–"
        if text and len(table) <= _WRITTEN:
            ink = _PAPER if known and share > 0.5 else _INK
            draw.text((x + cell / 2, y + cell / 2), text, ink, font, anchor="mm")


def _names(
    picture: Image.Image,
    names: Sequence[str],
    corner: tuple[int, int],
    cell: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    draw = ImageDraw.Draw(picture)
    for index, name in enumerate(names):
        middle = index * cell + cell // 2
        draw.text((corner[0] - 6, corner[1] + middle), name, _INK, font, anchor="rm")
        strip = Image.new("RGB", (corner[0] - 6, cell - 2), _PAPER)
        ImageDraw.Draw(strip).text((0, strip.height / 2), name, _INK, font, anchor="lm")
        turned = strip.transpose(Image.Transpose.ROTATE_90)
        picture.paste(turned, (corner[0] + index * cell + 1, corner[1] - 5 - turned.height))
