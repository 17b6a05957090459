"""Sizes that an architecture cannot have, refused in one line.

check_side("alexnet", (8, 8, 3), least=16)
check_width(0)
check_depth(1)
"""

from collections.abc import Sequence


def check_side(name: str, image_shape: Sequence[int], least: int) -> None:
    """Refuse, with a ValueError, images (height, width, ...) of a shorter side."""
    height, width = image_shape[:2]
    if min(height, width) < least:
        raise ValueError(
            f"`{name}` needs images of at least {least}x{least}. Received: "
            f"{height}x{width}. Up-sample them with `image_size`."
        )


def check_width(width: int) -> None:
    """Refuse, with a ValueError, a number of channels that is none, or absurd."""
    _check_count("width", width, 4096)


def check_depth(depth: int) -> None:
    """Refuse, with a ValueError, a number of blocks that is none, or absurd."""
    _check_count("depth", depth, 100)


def _check_count(name, count, most):
    if not isinstance(count, int) or not 1 <= count <= most:
        raise ValueError(
            f"`{name}` must be a positive integer up to {most}. Received: "
            f"{name}={count}"
        )
