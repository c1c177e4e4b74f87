"""Files: what they are called, who may write them, and writing them whole.

A file is written under a temporary name first, under the final one when complete. An output is
held by an exclusive lock of the run that writes it. The operating system keeps that for the
process, so a run that was killed blocks nobody; the file that is left of it is only a name. Where
a file system knows no locks, there is none.
"""

import os
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from itertools import product
from pathlib import Path, PurePosixPath

from mfrkit.errors import HeldError, InputError

_LONG = 100  # bytes; file systems allow 255, some 143
_IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pnm", ".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf"}
)
_BRACES = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{}]*,[^{}]*))\}")
_PLAIN_KEY = re.compile(r"[^./][^/]*(?:/[^./][^/]*)*", re.DOTALL)
_MOST_NAMES = 1_000_000
_CLIP_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".3gp"}
    | {".wmv", ".ogv", ".flv"}
)


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return os.path.splitext(name)[1].lower() in _IMAGE_SUFFIXES


def is_clip(name: str) -> bool:
    """Whether a file's name is that of a video clip."""
    return os.path.splitext(name)[1].lower() in _CLIP_SUFFIXES


def clip_key(name: str) -> str:
    """Return what the keys of a clip's frames begin with: `hall/door` for `hall/door.MP4`."""
    return canonical(os.path.splitext(name)[0])


def key_of(name: str) -> str:
    """Return the key of a picture: its name without an image suffix, and without any other change.

    Example:
        >>> key_of("J.Lo/J.Lo_0001.jpg"), key_of("J.Lo")
        ('J.Lo/J.Lo_0001', 'J.Lo')
    """
    return canonical(os.path.splitext(name)[0] if is_picture(name) else name)


def canonical(key: str) -> str:
    """Return the one spelling of a key: accents composed, no empty parts, no `.` among them.

    Example:
        >>> canonical("./Jose\u0301//1") == "Jos\u00e9/1"
        True
    """
    if key.isascii() and is_plain(key):
        return key
    spelled = str(PurePosixPath(composed(key)))
    return "" if spelled == "." else spelled


def is_plain(key: str) -> bool:
    """Whether no part of a key is empty or begins with a dot: then it has nothing to tidy."""
    return _PLAIN_KEY.fullmatch(key) is not None


def composed(text: str) -> str:
    """Return text with its accents composed (NFC): some systems write names in pieces."""
    return unicodedata.normalize("NFC", text)


def expand_braces(pattern: str) -> list[str]:
    """Return the names a pattern stands for, as shells expand `{08..10}` and `{one,other}`.

    Raises:
        InputError: it stands for more names than any data set has files, or numbers count down.

    Example:
        >>> expand_braces("train-{08..10}.tar"), expand_braces("{a,b}.tar")
        (['train-08.tar', 'train-09.tar', 'train-10.tar'], ['a.tar', 'b.tar'])
    """
    parts: list[list[str]] = []
    count, end = 1, 0
    for match in _BRACES.finditer(pattern):
        first, last, words = match.groups()
        if first and int(first) > int(last):
            raise InputError(f"{pattern}: counts down; write {{{last}..{first}}}")
        count *= words.count(",") + 1 if words else int(last) - int(first) + 1
        if count > _MOST_NAMES:
            raise InputError(f"{pattern}: stands for more than {_MOST_NAMES} names")
        numbers = range(int(first), int(last) + 1) if first else range(0)
        parts.append([pattern[end : match.start()]])
        parts.append(words.split(",") if words else [str(n).zfill(len(first)) for n in numbers])
        end = match.end()
    return ["".join(name) for name in product(*parts, [pattern[end:]])]


def hidden_name(name: str, ending: str) -> str:
    """Return a hidden name made of a file's name, short even where that one is not."""
    content = os.fsencode(name)
    short = name if len(content) <= _LONG else blake2b(content, digest_size=16).hexdigest()
    return f".{short}{ending}"


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # the locked byte lies behind the text, which others may read

    def _lock(handle: int, *, shared: bool) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int, *, shared: bool) -> None:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextmanager
def held(output: Path, lock: Path | None = None, *, shared: bool = False) -> Iterator[None]:
    """Hold an output while the block runs; with `shared`, others may who share it too.

    The lock is a hidden file beside the output unless one is named.

    Raises:
        HeldError: another run holds it; the message names that run.
        OSError: the lock file cannot be made.
    """
    if shared and os.name == "nt":  # which has no shared locks
        yield
        return
    lock = lock or output.with_name(hidden_name(output.name, ".lock"))
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = _acquire(output, lock, shared=shared)
    try:
        yield
    finally:
        with suppress(OSError):
            _lock(handle, shared=False)  # fails while others share it, who will remove it
            lock.unlink()
        os.close(handle)


def _acquire(output: Path, lock: Path, *, shared: bool) -> int:
    while True:
        unlinked(lock)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(handle, shared=shared)
        except (BlockingIOError, PermissionError) as error:
            holder = os.pread(handle, 400, 0).decode("utf-8", "replace") if os.name != "nt" else ""
            os.close(handle)
            raise HeldError(
                f"{output}: is being written by {holder or 'another run'}; "
                "wait until it ends, or name another output"
            ) from error
        except OSError:  # a file system without locks
            return handle
        with suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                _sign(handle)
                return handle
        os.close(handle)  # its holder has removed it in between: try again


def _sign(handle: int) -> None:
    """Write into a lock who holds it."""
    command = ascii(shlex.join(sys.argv[1:]))[1:-1][:120]
    with suppress(OSError):  # a full disk: then it stays nameless
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} (mfrkit {command})".encode())


def temporary_name(path: Path) -> Path:
    """Return the hidden name a file has while it is written.

    The name is fixed, not random: the rerun after a kill overwrites what the kill left behind.
    """
    return path.with_name(hidden_name(path.name, ".part"))


def unlinked(path: Path) -> Path:
    """Return a hidden name about to be written, after removing a link that somebody left there.

    A folder may come from others: what is written to the link would go where it leads.
    """
    if path.is_symlink():
        path.unlink()
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the final name if the block succeeds.

    Raises:
        HeldError: another run is writing the file.
        OSError: the file system refused (full, read-only); the final name is left as it was.
    """
    with replacing_together([path]) as (temporary,), naming(path):
        yield temporary


@contextmanager
def replacing_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Write files that are of use only together: all are the old ones, or all the new ones.

    When the new ones are complete, the last of the old ones is removed, and the last of the new
    ones is the last to get its name: at no moment is it there beside files it does not belong to.
    So the last must be one without which the others are not read. Errors are those of `replacing`.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(held(path))
        yield stack.enter_context(_replacing(paths))


@contextmanager
def _replacing(paths: Sequence[Path]) -> Iterator[list[Path]]:
    temporaries = [unlinked(temporary_name(path)) for path in paths]
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
    """Write a file whole, as one of many of a run that holds their folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing([path]) as (temporary,), naming(path):
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
        InputError: `path` exists and `force` is off, or it is a folder, a device or a pipe.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is no plain file; name a file to write")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; --force replaces it")
