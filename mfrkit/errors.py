"""The errors a user can cause, each with the exit code the shell sees.

A message is one line: what went wrong, which file, what to do next. Only the command line's
boundary (`mfrkit.cli`) turns these into text; everything below raises them.
"""

import difflib
import errno
from collections.abc import Sequence


class MfrError(Exception):
    """A failure whose text is meant for the user; exit code 1."""

    exit_code = 1


class InputError(MfrError):
    """An argument, path, list or file that cannot be used; exit code 2."""

    exit_code = 2


class HeldError(InputError):
    """An output that another run is writing."""


class ItemError(InputError):
    """One input that cannot be used; its text is the manifest's `reason`."""


class ShapeError(ItemError):
    """An array or tensor of the wrong shape or type."""


class ImageError(ItemError):
    """A file that is not a readable picture."""


class WeightsError(InputError):
    """A model file that is damaged, foreign, or does not fit its architecture."""


class PartialError(MfrError):
    """The run finished, but more inputs were skipped than `--max-skipped` allows; exit code 3."""

    exit_code = 3


class Terminated(BaseException):
    """SIGTERM arrived; raised in the main thread so that clean-up runs as for Ctrl-C."""

    exit_code = 143


# What a file system says of itself, not of one file: full, read-only, broken, out of handles.
_OF_THE_SYSTEM = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ENOMEM", "EMFILE", "ENFILE", "EPIPE",
        "ENODEV", "ENXIO", "ESTALE", "ENOTCONN", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
_OF_THE_DEVICE = ("OutOfMemoryError", "AcceleratorError")  # torch's, which is not loaded here
_NO_MEMORY = ("can't allocate memory", "Insufficient memory")  # torch's and OpenCV's words


def concerns_the_run(error: Exception) -> bool:
    """Whether a failure would befall the other inputs too; if not, it costs only one of them."""
    if isinstance(error, OSError):
        return error.errno in _OF_THE_SYSTEM
    if isinstance(error, ItemError):
        return False
    return (
        isinstance(error, MfrError | MemoryError)
        or type(error).__name__ in _OF_THE_DEVICE
        or any(words in str(error) for words in _NO_MEMORY)
    )


def reason_of(error: Exception) -> str:
    """Say in one line why an input gave nothing."""
    if isinstance(error, ItemError):
        return str(error)
    if isinstance(error, OSError):
        return f"not written: {error.strerror or error}"
    return f"failed: {type(error).__name__}: {error}".splitlines()[0][:200]


def instead(name: str, names: Sequence[str]) -> str:
    """Say what there is instead of an unknown name, the nearest one first.

    Example:
        >>> instead("cosin", ("cosine", "step"))
        '; did you mean cosine? Known: cosine, step'
    """
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}? Known" if near else "; known"
    return f"{hint}: {', '.join(names)}"
