"""InsightFace's verification files (`lfw.bin`, `cfp_fp.bin`, ...): encoded crops in pairs.

Such a file is a pickle of `(pictures, issame)`: 2 P encoded pictures, of which 2 i and 2 i + 1 make
up pair i, and P labels. Unpickling a stranger's file can run any program, so here it can build
nothing but lists, tuples, numbers, text and bytes; the few numpy names that occur are answered by
stand-ins that keep bytes.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfrkit.errors import InputError
from mfrkit.io.documents import read_content
from mfrkit.io.files import write_whole

# What a damaged or hostile pickle makes the unpickler raise.
_DAMAGE = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError,
    MemoryError, OverflowError, TypeError, ValueError,
)  # fmt: skip


_CODES = {operation.code: operation for operation in pickletools.opcodes}
_REMEMBER = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_RECALL = frozenset({"GET", "BINGET", "LONG_BINGET"})
_UNFOLDS, _SPARE = 64, 1 << 20  # a picture may stand in many pairs


@dataclass(frozen=True, eq=False)
class VerificationBin:
    """The contents of a verification file."""

    pictures: list[bytes]  # 2 P, encoded as they were stored; 2 i and 2 i + 1 make up pair i
    same: NDArray[np.bool_]  # (P,) whether the two show one person


class _Held:
    """Stands in for bytes that a pickle wraps into another object."""

    def __init__(self, raw: Any = b"", *_: object) -> None:
        self.raw = _bytes_of(raw)
        self.width = 1

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("bytes with a state")


class _Type(_Held):
    """Stands in for `numpy.dtype`: keeps the number of bytes of an element."""

    def __init__(self, code: Any = b"", *_: object) -> None:
        super().__init__(code.encode("ascii") if isinstance(code, str) else code)
        name = self.raw.lstrip(b"<>|=").replace(b"?", b"b1")
        if name[:1] not in (b"b", b"i", b"u") or name[1:] not in (b"1", b"2", b"4", b"8"):
            raise pickle.UnpicklingError(f"an array of type {name!r}")
        self.width = int(name[1:])

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and the like: a label is zero or not, a picture is bytes."""


class _Array(_Held):
    """Stands in for `numpy.ndarray`, which is built empty and filled by its state."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        _, _, kind, _, raw = state
        self.raw, self.width = _bytes_of(raw), _width_of(kind)


class _Buffer(_Held):
    """Stands in for an array whose bytes come with it, or a scalar."""

    def __init__(self, raw: Any, kind: Any, *_: object) -> None:
        super().__init__(raw)
        self.width = _width_of(kind)


_STAND_INS: dict[str, Callable[..., _Held]] = {
    "_codecs.encode": _Held,  # bytes in protocols 0 to 2: text and "latin1"
    "builtins.bytes": _Held,
    "builtins.bytearray": _Held,
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": lambda kind, raw: _Buffer(raw, kind),
    "numpy.core.numeric._frombuffer": _Buffer,
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that finds nothing but the stand-ins."""

    def find_class(self, module: str, name: str) -> Callable[..., _Held]:
        """Answer a name the pickle asks for."""
        today = module.replace("__builtin__", "builtins").replace("numpy._core", "numpy.core")
        wanted = f"{today}.{name}"
        if wanted not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _STAND_INS[wanted]


def read_bin(path: Path) -> VerificationBin:
    """Read a verification file, of Python 2 or 3, of any pickle protocol, whole into memory.

    Raises:
        InputError: missing, unreadable, no pickle of this form, or one that asks for anything but
            bytes, numbers and containers, which is never executed.
    """
    content = read_content(path)
    try:
        _check_size(content)
        # Text of Python 2 is bytes; what Python 3 wrote as bytes or text stays what it is.
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        pictures, same = _take_apart(loaded)
    except _DAMAGE as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a verification file of pairs ({why})") from error
    if not pictures or len(pictures) != 2 * len(same):
        raise InputError(
            f"{path}: holds {len(pictures)} pictures and {len(same)} labels; "
            "expected two pictures for each label, and at least one"
        )
    return VerificationBin(pictures, np.array(same, dtype=bool))


def _check_size(content: bytes) -> None:
    """Refuse a pickle that would unfold to far more than its own size.

    Its program may number what it remembers as it likes, for which a table is made, and may ask for
    one text again and again, of which copies are made.
    """
    lengths: dict[int, int] = {}
    pushed, unfolded = 0, 0
    for name, argument in _operations(content):
        if name in _REMEMBER:
            place = len(lengths) if argument is None else int(argument)
            if place > len(content):
                raise pickle.UnpicklingError(f"it remembers {place} things in {len(content)} bytes")
            lengths[place] = pushed
        elif name in _RECALL:
            pushed = lengths.get(int(argument or 0), 0)
        else:
            pushed = len(argument) if isinstance(argument, str | bytes | bytearray) else 0
        unfolded += pushed
        if name == "DUP" or unfolded > _UNFOLDS * len(content) + _SPARE:
            raise pickle.UnpicklingError(f"it unfolds to far more than its {len(content)} bytes")


def _operations(content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the operations of a pickle and their arguments; nothing is carried out."""
    stream = io.BytesIO(content)
    while code := stream.read(1).decode("latin-1"):
        operation = _CODES[code]
        if operation.name == "STRING":  # its own reader takes ASCII only
            yield operation.name, stream.readline()
        else:
            yield operation.name, operation.arg and operation.arg.reader(stream)
        if operation.name == "STOP":
            return


def write_bin(path: Path, pictures: Sequence[bytes], same: Sequence[bool]) -> None:
    """Write a verification file that InsightFace's and this reader take, whole.

    Of 2 P encoded pictures (JPEG or PNG), 2 i and 2 i + 1 make up pair i; P labels say whether the
    two show one person.
    """
    if len(pictures) != 2 * len(same):
        raise InputError(f"{len(pictures)} pictures for {len(same)} pairs: expected two for each")
    contents = ([bytes(picture) for picture in pictures], [bool(label) for label in same])
    write_whole(path, pickle.dumps(contents, protocol=4))  # 4: every Python 3 reads it


def _take_apart(loaded: Any) -> tuple[list[bytes], list[bool]]:
    if not isinstance(loaded, tuple | list) or len(loaded) != 2:
        raise pickle.UnpicklingError("expected two lists")
    pictures, labels = loaded
    if not isinstance(pictures, tuple | list):
        raise pickle.UnpicklingError("expected a list of pictures")
    return [_bytes_of(picture) for picture in pictures], _labels_of(labels)


def _labels_of(labels: Any) -> list[bool]:
    if isinstance(labels, tuple | list):
        return [_truths_of(label, 1)[0] for label in labels]
    return _truths_of(labels)


def _truths_of(label: Any, most: int | None = None) -> list[bool]:
    """Read one label, or an array of them, or the first of it: zero or not."""
    if isinstance(label, bool | int):
        return [bool(label)]
    if not isinstance(label, _Held):
        raise pickle.UnpicklingError(f"a label is {type(label).__name__}")
    count = len(label.raw) // label.width
    whole = label.width * (count if most is None else min(count, most))
    rows = np.frombuffer(label.raw[:whole], np.uint8).reshape(-1, label.width)
    return np.any(rows, axis=1).tolist()


def _width_of(kind: Any) -> int:
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError("an array without a type")
    return kind.width


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, _Held):
        return value.raw
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("latin-1")
    raise pickle.UnpicklingError(f"expected bytes, got {type(value).__name__}")
