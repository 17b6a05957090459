"""Where this package keeps what it can make again.

cache.directory()                # ~/.cache/tf_advdefense
"""

import os
import pathlib


def directory() -> pathlib.Path:
    """Beneath `XDG_CACHE_HOME`, or `.cache` of the home."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "tf_advdefense"
