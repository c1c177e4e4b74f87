"""The command line: parse, call one stage, translate errors into exit codes.

Nothing here or in the command modules imports torch, h5py or OpenCV before a command runs, so
that `mfrkit --help` answers at once.
"""

import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mfrkit import __version__
from mfrkit.cli.options import offer_values
from mfrkit.console import Console, open_streams, printable
from mfrkit.errors import MfrError, Terminated

HELP = """Masked face recognition from the shell.

Each command reads files and writes files with a manifest; piped commands run side by side:

\b
  mfrkit align photos -o crops | mfrkit synth-mask - -o masked | mfrkit embed - -o masked.h5

`mfrkit help COMMAND` tells more of one. -q, -v and --debug may stand anywhere on the line. Exit
codes: 0 done, 1 failure, 2 usage or bad input, 3 too many inputs skipped, 130 interrupted.
"""
GLOBAL_FLAGS = frozenset({"-q", "--quiet", "-v", "--verbose", "--debug"})
# Usage errors have no public name in Typer, and which library defines them depends on its version.
_USAGE_ERROR = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
TYPERS_OWN: tuple[type[Exception], ...] = (typer.Exit, typer.Abort, _USAGE_ERROR)
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the signal's number, as shells report it


class Boundary(TyperGroup):
    """The one place where an error becomes a message and an exit code."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line."""
        with _typers_words():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command and translate what it raises."""
        try:
            with _typers_words():
                return super().invoke(ctx)
        except TYPERS_OWN:
            raise
        except MfrError as error:
            raise _stop(ctx, str(error), error.exit_code) from error
        except KeyboardInterrupt as error:
            raise _stop(ctx, _and("interrupted", error), INTERRUPTED) from error
        except Terminated as error:
            raise _stop(ctx, _and("terminated", error), error.exit_code) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _stop(ctx, _describe(error), MfrError.exit_code) from error
        except Exception as error:  # a defect: one line too, --debug shows all of it
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _stop(ctx, f"{text} (--debug shows where)", MfrError.exit_code) from error


@contextmanager
def _typers_words() -> Iterator[None]:
    """Attend to what Typer itself says: help that nobody reads, errors that quote the line."""
    try:
        yield
    except _USAGE_ERROR as error:  # type: ignore[misc]
        if type(error).__name__ != "NoArgsIsHelpError":  # that one quotes nothing: it is the help
            error.message = printable(error.message)
        raise
    except BrokenPipeError as error:
        # The reader has gone; point stdout elsewhere so that Python's exit flush is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from error


def _stop(ctx: Any, text: str, code: int) -> typer.Exit:
    if ctx.params.get("debug"):
        traceback.print_exc()
    (ctx.obj or Console()).error(text)
    return typer.Exit(code)


def _and(what: str, error: BaseException) -> str:
    """Add what a stopped command says to what stopped it."""
    return "; ".join(filter(None, (what, str(error))))


def _describe(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


app = typer.Typer(
    name="mfrkit",
    cls=Boundary,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help costs 0.1 s, rich help 0.2 s, and pipes well
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mfrkit {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def root(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every skipped input.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version)
    ] = False,
) -> None:
    """Set up the narration of every command."""
    ctx.obj = Console(-1 if quiet else int(verbose))


def _register() -> None:
    from mfrkit.cli import images, people, start, train, vectors
    from mfrkit.cli.measure import benchmark, evaluate, identify
    from mfrkit.cli.models import app as models

    for command in (
        images.align, images.synth_mask, images.cut_masks, images.pack,
        train.train_inpaint, train.train_landmarks, train.train_region, train.distill, train.curves,
        images.inpaint, images.embed, vectors.merge, vectors.unmask, vectors.fuse,
        people.verify, people.search, evaluate, identify, benchmark,
        vectors.export, images.unpack, images.pack_bin, start.demo, start.doctor,
    ):  # fmt: skip
        app.command("eval" if command is evaluate else None)(command)
    app.add_typer(models, name="models")
    offer_values(app)


_register()


def hoist_global_flags(arguments: list[str]) -> list[str]:
    """Move the global flags before the command, so that they may stand anywhere.

    Example:
        >>> hoist_global_flags(["align", "photos", "-q"])
        ['-q', 'align', 'photos']
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    head, tail = arguments[:end], arguments[end:]
    flags = [word for word in head if word in GLOBAL_FLAGS]
    return flags + [word for word in head if word not in GLOBAL_FLAGS] + tail


def spell_help(arguments: list[str]) -> list[str]:
    """Turn `help COMMAND` into `COMMAND --help`.

    Example:
        >>> spell_help(["help", "models", "show"]), spell_help(["help"])
        (['models', 'show', '--help'], ['--help'])
    """
    return [*arguments[1:], "--help"] if arguments[:1] == ["help"] else arguments


def _terminate(*_: object) -> None:
    raise Terminated


def _hush_libraries() -> None:
    """Keep what decoders say of damaged photos from the terminal: their records say it."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # in processes it starts


def main() -> None:
    """Run the console script."""
    open_streams()
    _hush_libraries()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # any file name
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(hoist_global_flags(spell_help(sys.argv[1:])), prog_name="mfrkit")
    finally:
        gc.freeze()  # on its way out, Python would look through all of torch for garbage: 0.5 s
