"""The errors a user can cause, each with the exit code the shell sees.

A message is one line: what went wrong, which file, what to do next. Only the command line's
boundary (`mfrkit.cli`) turns these into text; everything below raises them.
"""


class MfrError(Exception):
    """A failure whose text is meant for the user; exit code 1."""

    exit_code = 1


class InputError(MfrError):
    """An argument, path, list or file that cannot be used; exit code 2."""

    exit_code = 2


class ShapeError(InputError):
    """An array or tensor of the wrong shape or type."""


class ImageError(InputError):
    """A file that is not a readable picture; its text is the manifest's `reason`."""


class WeightsError(InputError):
    """A model file that is damaged, foreign, or does not fit its architecture."""


class PartialError(MfrError):
    """The run finished, but more inputs were skipped than `--max-skipped` allows; exit code 3."""

    exit_code = 3


class Terminated(BaseException):
    """SIGTERM arrived; raised in the main thread so that clean-up runs as for Ctrl-C."""

    exit_code = 143
