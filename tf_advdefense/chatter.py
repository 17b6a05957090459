"""What TensorFlow's runtime says of itself, kept off the terminal.

    with without_chatter():
        import tensorflow

TensorFlow 2.21 reports on oneDNN and on missing GPU drivers before it looks at
TF_CPP_MIN_LOG_LEVEL, and TensorFlow Lite on its delegates without looking: there is no
switch. Their lines, written by C++ to file descriptor 2, would stand before the one
line in which a command says what is wrong.
"""

from collections.abc import Iterator
import contextlib
import os
import re
import sys
import tempfile

# Of glog's severities the information, the warning that logging is not set up yet, and
# what the interpreter of TensorFlow Lite tells of a delegate that it makes.
_CHATTER = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog|INFO: Created "
)


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Within it, file descriptor 2 is a file; afterwards all but chatter is printed.

    The descriptor is restored whatever happens. Without a standard error, nothing is
    redirected.
    """
    if not _is_open(2):
        yield
        return
    with tempfile.TemporaryFile() as kept:
        former = os.dup(2)
        sys.stderr.flush()
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(former, 2)
            os.close(former)
            kept.seek(0)
            for line in kept:
                if not _CHATTER.match(line):
                    os.write(2, line)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
