"""Write files whole: under a temporary name first, under the final one when complete."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mfrkit.errors import InputError
from mfrkit.io.lock import held
from mfrkit.io.names import hidden_name


def temporary_name(path: Path) -> Path:
    """Return the hidden name a file has while it is written.

    The name is fixed, not random: the rerun after a kill overwrites what the kill left behind. It
    is short even where the file's own is not.

    Example:
        >>> temporary_name(Path("crops/a.png")).as_posix()
        'crops/.a.png.part'
    """
    return path.with_name(hidden_name(path.name, ".part"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the final name if the block succeeds.

    Raises:
        InputError: another run is writing the file.
        OSError: the file system refused (full, read-only); the final name is left as it was.
    """
    with held(path), _replacing(path) as temporary:
        yield temporary


@contextmanager
def replacing_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Write files that are of use only together: all are the old ones, or all the new ones.

    When the new ones are complete, the last of the old ones is removed, and the last of the new
    ones is the last to get its name: at no moment is it there beside files it does not belong to.
    So the last must be one without which the others are not read.

    Raises:
        InputError: another run is writing one of the files.
        OSError: the file system refused.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(held(path))
        temporaries = [temporary_name(path) for path in paths]
        try:
            yield temporaries
            if len(paths) > 1:
                paths[-1].unlink(missing_ok=True)
            for temporary, path in zip(temporaries, paths, strict=True):
                with naming(path):
                    os.replace(temporary, path)
        finally:
            for temporary in temporaries:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with naming(path):
            yield temporary
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an operating system's error say which file it was: a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either absent (or as before) or complete."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_held(path: Path, content: bytes) -> None:
    """Write a file whole, as one of many of a run that holds their folder (`mfrkit.io.lock`)."""
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_whole(folder: Path) -> None:
    """Remove a folder such that it is there whole or not at all, even if a kill comes between."""
    gone = folder.with_name(hidden_name(folder.name, ".gone"))
    shutil.rmtree(gone, ignore_errors=True)  # what a kill left of it
    with suppress(FileNotFoundError):
        os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Protect an earlier result.

    Raises:
        InputError: `path` exists and `force` is off, or it is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; --force replaces it")
