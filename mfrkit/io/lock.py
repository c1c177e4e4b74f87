"""One writer at a time: an exclusive lock on an output, held by the run that writes it.

The operating system keeps the lock for the process, so a run that was killed blocks nobody; the
file that is left of it is only a name. Where a file system knows no locks, there is none.
"""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mfrkit.errors import HeldError
from mfrkit.io.names import hidden_name

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
    """Hold an output while the block runs.

    Args:
        output: what is written, for messages.
        lock: the file to lock; a hidden one beside the output if None.
        shared: let others in that share it too, but none that wants it alone.

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
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
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
