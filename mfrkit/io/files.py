"""Write files whole: under a temporary name first, under the final one when complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mfrkit.errors import InputError


def temporary_name(path: Path) -> Path:
    """Return the hidden name a file has while it is written.

    The name is fixed, not random: the rerun after a kill overwrites what the kill left behind.

    Example:
        >>> temporary_name(Path("crops/a.png")).as_posix()
        'crops/.a.png.part'
    """
    return path.with_name(f".{path.name}.part")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the final name if the block succeeds.

    Raises:
        OSError: the file system refused (full, read-only); the final name is left as it was.
    """
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


def refuse_existing(path: Path, *, force: bool) -> None:
    """Protect an earlier result.

    Raises:
        InputError: `path` exists and `force` is off, or it is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; --force replaces it")
