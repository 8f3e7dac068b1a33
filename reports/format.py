"""How a number is written, in one place: terminal, Markdown and HTML print the same characters.

Every function takes the unit the record holds and returns text without the unit,
and "–" for None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ABSENT = "–"
MINUS = "−"


def milliseconds(value_ms: float | None) -> str:
    """Write a time with three significant digits, whole numbers above 100.

    >>> milliseconds(1.6049), milliseconds(80.12), milliseconds(1234.5), milliseconds(None)
    ('1.60', '80.1', '1,234', '–')
    """
    return _three_digits(value_ms)


def mebibytes(value_mib: float | None) -> str:
    """Write an amount of memory with three significant digits, whole numbers above 100.

    >>> mebibytes(14.27), mebibytes(612.4)
    ('14.3', '612')
    """
    return _three_digits(value_mib)


def percent(fraction: float | None) -> str:
    """Write a fraction of 1 as per cent with two decimals.

    >>> percent(0.54042)
    '54.04'
    """
    return ABSENT if fraction is None else _signless_zero(f"{fraction * 100:.2f}")


def agreement(fraction: float | None) -> str:
    """Write a share of pixels as per cent, rounded down: only all of them are 100.

    >>> agreement(0.99999999), agreement(1.0), agreement(0.98765)
    ('99.9999', '100', '98.76')
    """
    if fraction is None:
        return ABSENT
    if fraction >= 1:
        return "100"
    digits = 4 if fraction >= 0.999 else 2
    scale = float(10**digits)
    return f"{math.floor(fraction * 100 * scale) / scale:.{digits}f}"


def ratio(value: float | None) -> str:
    """Write a factor such as a speed-up.

    >>> ratio(5.1349), ratio(12.34), ratio(None)
    ('5.13×', '12.3×', '–')
    """
    if value is None:
        return ABSENT
    return f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


def points(fraction: float | None) -> str:
    """Write a difference of IoU in points (hundredths of 1) with its sign.

    >>> points(0.0031), points(-0.0002), points(0.00001), points(None)
    ('+0.31', '−0.02', '0.00', '–')
    """
    if fraction is None:
        return ABSENT
    text = f"{abs(fraction) * 100:.2f}"
    if float(text) == 0:
        return text
    return ("+" if fraction > 0 else MINUS) + text


def depth_value(value: float | None, *, sign: bool = False) -> str:
    """Write a depth error with four decimals; `sign` writes that of a difference.

    >>> depth_value(0.05721), depth_value(-0.00012, sign=True), depth_value(0.0, sign=True)
    ('0.0572', '−0.0001', '0.0000')
    """
    if value is None:
        return ABSENT
    text = f"{abs(value) if sign else value:.4f}"
    if not sign or float(text) == 0:
        return _signless_zero(text)
    return ("+" if value > 0 else MINUS) + text


def interval(low: float, high: float) -> str:
    r"""Write an interval of IoU differences in points.

    The space inside does not break, so that a narrow column keeps the interval whole.

    >>> interval(-0.0005, 0.0007).replace("\N{NO-BREAK SPACE}", " ")
    '[−0.05, +0.07]'
    """
    return f"[{points(low)},\N{NO-BREAK SPACE}{points(high)}]"


def count(value: float | None) -> str:
    """Write a count in thousands, millions or thousand millions.

    >>> count(3716971), count(812), count(27.4e9)
    ('3.72 M', '812', '27.40 G')
    """
    if value is None:
        return ABSENT
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f} {suffix}"
    return f"{value:.0f}"


def gmacs(value: float | None) -> str:
    """Write thousand million multiply-accumulates.

    >>> gmacs(4.1037)
    '4.10'
    """
    return _three_digits(value)


def shape(values: Sequence[int]) -> str:
    """Write a tensor shape.

    >>> shape((1, 3, 512, 512))
    '1×3×512×512'
    """
    return "×".join(str(value) for value in values) or ABSENT


def short_hash(sha256: str) -> str:
    """Write the first twelve digits of a hash.

    >>> short_hash("0123456789abcdef")
    '0123456789ab'
    """
    return sha256[:12] or ABSENT


def plural(value: int, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "image"), plural(1000, "image")
    ('1 image', '1,000 images')
    """
    return f"{value:,} {noun}" + ("" if value == 1 else "s")


def timestamp(created: str) -> str:
    """Write an ISO 8601 time in UTC for a reader; any other text is returned unchanged.

    >>> timestamp("2026-03-02T09:41:07+00:00")
    '2026-03-02 09:41 UTC'
    """
    day, separator, clock = created.partition("T")
    if not separator or not clock.endswith(("+00:00", "Z")):
        return created
    return f"{day} {clock[:5]} UTC"


def shorten(text: str, limit: int) -> str:
    """Cut the middle out of a text longer than `limit` characters.

    >>> shorten("segformer-b0-camvid", 11)
    'segfo…amvid'
    """
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def _three_digits(value: float | None) -> str:
    if value is None:
        return ABSENT
    size = abs(value)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return _signless_zero(f"{value:,.{digits}f}")


def _signless_zero(text: str) -> str:
    """Return "0.00" for "-0.00" and a typographic minus otherwise."""
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return text.replace("-", MINUS)
