"""Ctrl-C while the command ``tsbp`` still loads its modules, which takes seconds.

Until then it ends the process at once, as it ends other programs, and not with a traceback from wherever the loading
was. The package imports this module first; in other programs than the command it does nothing.
"""

import os
import signal
import sys
from itertools import pairwise


def is_the_command() -> bool:
    """Whether this process is ``tsbp`` or ``python -m tsbp``."""
    return ("-m", "tsbp") in pairwise(sys.orig_argv) or os.path.basename(sys.argv[0]) == "tsbp"


def at_once() -> None:
    """Let Ctrl-C end the process, unless it was told to ignore it."""
    if is_the_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def as_usual() -> None:
    """Undo :func:`at_once`: Ctrl-C raises KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


at_once()
