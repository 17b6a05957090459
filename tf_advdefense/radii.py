"""Norms and radii as people write them: Linf, 8/255, 0.3.

number("8/255")          # 0.0314
radius_text(8 / 255)     # "8/255"
NORMS["Linf"]            # "inf", as records have it
"""

import fractions

NORMS = {"Linf": "inf", "L2": "2", "L1": "1", "L0": "0"}


def number(text: str) -> float:
    """The value of `0.3` or `8/255`.

    Raises:
      ValueError: it is neither a number nor a fraction.
    """
    try:
        return float(fractions.Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"a number or a fraction such as 8/255 is needed. Received: {text}"
        ) from None


def radius_text(radius: float) -> str:
    """8/255 for whole grey levels, else 0.3."""
    levels = 255 * radius
    if radius < 1 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{radius:g}"
