"""Norms and radii as people write them: Linf, 8/255, 0.3.

number("8/255")          # 0.0314
radius_text(8 / 255)     # "8/255"
NORMS["Linf"]            # "inf", as records have it
"""

import math

NORMS = {"Linf": "inf", "L2": "2", "L1": "1", "L0": "0"}


def number(text: str) -> float:
    """The value of `0.3` or `8/255`.

    Raises:
      ValueError: it is neither a number nor a fraction.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        # Not exact fractions: of 1e999999999 they would take all memory.
        value = float(numerator) / float(denominator if slash else 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            "a number or a fraction such as 8/255 is needed. Received: "
            f"{text or 'nothing'}"
        )
    return value


def radius_text(radius: float) -> str:
    """8/255 for whole grey levels, else 0.3."""
    levels = 255 * radius
    if radius < 1 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{radius:g}"
