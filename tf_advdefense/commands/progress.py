"""What long work says of itself: durations, and a bar or a line per part."""

from collections.abc import Callable
import math
import sys
import time


def duration(seconds: float) -> str:
    """`42 s`, `3.5 min` or `2.1 h`."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def progress(what: str) -> Callable[[int, int, int], None]:
    """A callback that draws a progress bar on a terminal, or prints a last line.

    It takes the images done, all of them, and how many of those that were correctly
    classified are fooled so far.
    """
    started = time.time()

    def show(done: int, total: int, fooled: int) -> None:
        passed = time.time() - started
        line = (
            f"{what}: {done}/{total} images, {fooled} of the correctly classified "
            f"fooled, {duration(passed)}"
        )
        if sys.stderr.isatty():
            _draw(line, done, total, passed)
        elif done == total:
            print(line, file=sys.stderr, flush=True)

    return show


def _draw(line: str, done: int, total: int, passed: float) -> None:
    bar = "=" * (30 * done // total)
    left = f", {duration(passed / done * (total - done))} left" if done else ""
    # Erased to the end: the line before may have been longer.
    print(
        f"\r[{bar:<30}] {line}{left}\033[K",
        end="\n" * (done == total),
        file=sys.stderr,
        flush=True,
    )
