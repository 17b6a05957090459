"""What a command needs of the process it runs in: streams to write to, and signals.

open_streams()
with Signals().as_interruptions():
    ...                              # Ctrl-C, SIGTERM and SIGHUP interrupt it
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_MOMENT = 0.05  # Seconds.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def open_streams() -> None:
    """Streams that take whatever is written to them.

    Of those that were closed (`>&-`) the numbers would be given to the next files that
    are opened, which the runtime's messages would then be written into. Letters that a
    terminal's encoding lacks are replaced.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest free number: this one.
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def close_output() -> None:
    """Nothing more goes to standard output, not even at the interpreter's end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Signals:
    """Signals that end a process, as what Ctrl-C raises.

    Attributes:
      code: the exit code after an interruption.
      came: whether there was one. Within a function written in C, what is raised may
        come out of it as another error.
    """

    def __init__(self) -> None:
        self.code, self.came = 128 + signal.SIGINT, False
        self._listens = False

    @contextlib.contextmanager
    def as_interruptions(self) -> Iterator[None]:
        """Context in which they raise KeyboardInterrupt, unless they are ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.getsignal(number) for number in _ENDING}
        for number, handler in former.items():
            if handler != signal.SIG_IGN:  # Of `nohup`.
                signal.signal(number, self._interrupt)
        hooks = sys.excepthook, sys.unraisablehook
        sys.excepthook = self._unless_interrupted(sys.excepthook)
        sys.unraisablehook = self._unless_interrupted(sys.unraisablehook)
        self._listens = True
        try:
            yield
        finally:
            self._listens = False
            sys.excepthook, sys.unraisablehook = hooks
            for number, handler in former.items():
                signal.signal(number, handler)

    def _unless_interrupted(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """A hook for what C code prints and drops, which may be an interruption.

        That one is not printed, and comes again a moment later.
        """

        def called(*raised: Any) -> None:
            kind = raised[0] if len(raised) == 3 else raised[0].exc_type
            if not (self.came and issubclass(kind, KeyboardInterrupt)):
                hook(*raised)
                return
            again = threading.Timer(_MOMENT, self._send)
            again.daemon = True
            again.start()

        return called

    def _send(self) -> None:
        if self._listens:
            os.kill(os.getpid(), self.code - 128)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.code, self.came = 128 + number, True
        raise KeyboardInterrupt
