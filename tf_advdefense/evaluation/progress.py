"""A progress bar of an attack, with what it leaves of the robust accuracy.

show = progress("pgd 8/255 on mine", clean_correct=97)
show(64, 100, 41)      # 64 of 100 images done, 41 fooled: at most 56.0 % is left
"""

from collections.abc import Callable
import sys
import time

import tqdm

from tf_advdefense.reporting import formats

Progress = Callable[[int, int, int], None]

_BETWEEN_LINES = 60  # Seconds, in a log.


def progress(title: str, clean_correct: int | None = None) -> Progress:
    """Draws a bar on a terminal and in a notebook; prints a line a minute elsewhere.

    Args:
      title: of what is being done.
      clean_correct: how many of the images the model classifies rightly; None if it is
        not known.

    Returns:
      A function of the images done, of all of them, and of how many of those that were
      classified rightly are fooled so far. What is left is an upper bound of the robust
      accuracy, which falls as the attack goes on.
    """
    started = printed = time.perf_counter()
    bar: tqdm.tqdm | None = None

    def show(done: int, total: int, fooled: int) -> None:
        nonlocal bar, printed
        left = _left(total, fooled, clean_correct)
        if not _live():
            now = time.perf_counter()
            if done < total and now - printed < _BETWEEN_LINES:
                return
            printed = now
            images = f"{total}" if done == total else f"{done} of {total}"
            passed = formats.seconds(now - started)
            print(f"{title}: {images} images, {left}, {passed}", file=sys.stderr)
            return
        bar = bar or tqdm.tqdm(
            desc=title,
            total=total,
            unit=" images",
            file=sys.stderr,
            dynamic_ncols=True,
        )
        bar.set_postfix_str(left, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show


def _left(total: int, fooled: int, clean_correct: int | None) -> str:
    if clean_correct is None:
        return f"{fooled} fooled of those that were right"
    return f"at most {100 * (clean_correct - fooled) / total:.1f} % still right"


def _live() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
