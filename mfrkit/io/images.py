"""Decode and encode pictures: RGB uint8 arrays inside, any common file outside.

Pillow reads the header (true size, mode, orientation) before a pixel is decoded, and decodes the
unusual kinds: CMYK, palettes, transparency, 16 bits, animation. OpenCV decodes plain JPEG and PNG
and encodes everything, because it is about twice as fast at the one and three times at the other.
BGR never leaves this file.
"""

import errno
import functools
import io
import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from mfrkit.errors import ImageError, InputError, concerns_the_run
from mfrkit.io.files import write_held


@dataclass(frozen=True)
class Packed:
    """A picture inside a larger file, `size` bytes from `offset`; it can be read like a path.

    Attributes:
        archive: the file.
        name: of the picture in it.
    """

    archive: Path
    name: str
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """Read the picture's file content; an archive that ends before it is an ImageError.

        The archive is opened for each read: no handle is shared between threads, and a thousand
        shards do not need a thousand handles.
        """
        with self.archive.open("rb", buffering=0) as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise ImageError("truncated: its archive ends too early")
        return content

    def __str__(self) -> str:
        return f"{self.archive}: {self.name}"


# Enough for a 200-megapixel phone; beyond it a small file can ask for gigabytes of memory.
_MAX_PIXELS = 200_000_000
_MAX_BYTES = 1 << 30  # of a picture file
Image.MAX_IMAGE_PIXELS = None  # our own limit replaces Pillow's, which warns as well as refuses
# What photos come in (MPO begins as JPEG). Pillow reads some forty kinds more, each with a parser.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")
_BRANDS = dict.fromkeys((b"avif", b"avis"), "AVIF") | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIF"
)
_SUFFIXES = {"jpeg": ".jpg", "mpo": ".jpg", "jpeg2000": ".jp2", "heif": ".heic"}
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_TRAILER, _TRAILER_WINDOW = b"\xff\xd9", 64  # cameras append a few bytes behind the end marker
_OF_ONE_FILE = frozenset({errno.EIO, errno.ENXIO, errno.ESTALE})  # damage under it, or a socket
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path | Packed) -> NDArray[np.uint8]:
    """Decode a picture, upright, as (H, W, 3) uint8 RGB.

    Convention:
        Orientation tags are applied, transparency is laid over white, 16-bit values are scaled,
        and an animation gives its first frame.

    Raises:
        ImageError: missing, empty, truncated, not a picture, or too large; the text is short and
            names no file, as it becomes a manifest's `reason`.
    """
    return decode_image(read_content(path))


def count_pixels(path: Path | Packed) -> int:
    """Return how many pixels a picture has by its header; 0 where decoding it will fail."""
    try:
        with _content(path) as file, Image.open(file, formats=_formats()) as picture:
            width, height = picture.size
    except Exception as error:  # as in decoding, which will say it
        if concerns_the_run(error):
            raise
        return 0
    return width * height if width * height <= _MAX_PIXELS else 0


def _content(path: Path | Packed) -> BinaryIO:
    return io.BytesIO(path.read_bytes()) if isinstance(path, Packed) else _open_plain(path)


def read_content(path: Path | Packed) -> bytes:
    """Read a picture's file content; what is no plain file of 1 GiB at most is an ImageError."""
    if isinstance(path, Packed) and path.size > _MAX_BYTES:
        raise ImageError(_too_large(path.size))
    try:
        with _content(path) as file:
            return file.read()
    except OSError as error:
        if concerns_the_run(error) and error.errno not in _OF_ONE_FILE:
            raise
        raise ImageError(f"unreadable: {error.strerror or error}") from error
    except ValueError as error:  # a name no file can have
        raise ImageError(f"unreadable: {error}") from error


def _open_plain(path: Path) -> BinaryIO:
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (the caller's to close)
    status = os.fstat(file.fileno())
    is_plain = stat.S_ISREG(status.st_mode)
    if is_plain and status.st_size <= _MAX_BYTES:
        return file
    file.close()
    raise ImageError(_too_large(status.st_size) if is_plain else "not a plain file")


def is_photo(path: Path) -> bool:
    """Whether a plain file begins as the kinds of pictures do that cameras and phones make."""
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            start = file.read(12) if plain else b""
    except OSError:
        return False
    return start.startswith(_STARTS) or start[4:8] == b"ftyp" or start[8:12] == b"WEBP"


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for whoever should write into a named pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _too_large(size: int) -> str:
    return f"too large: {size / 1e9:.1f} GB, limit {_MAX_BYTES / 1e9:.1f}"


def decode_image(content: bytes) -> NDArray[np.uint8]:
    """Decode the bytes of a picture file; see `read_image`."""
    if not content:
        raise ImageError("empty file")
    try:
        with _opened(content) as picture:
            width, height = picture.size
            if width * height > _MAX_PIXELS:
                raise ImageError(f"too large: {width}x{height} pixels, limit {_MAX_PIXELS}")
            if _is_plain(picture, content):
                decoded = _decode_plain(content)
                if decoded is not None:
                    return decoded
            return _decode_any(picture)
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever they like
        if concerns_the_run(error) and not (isinstance(error, MemoryError) and _has_memory()):
            raise
        text = str(error).splitlines() or [type(error).__name__]
        raise ImageError(f"damaged picture: {text[0]}") from error


def _has_memory() -> bool:
    """Whether there is room for a large photo; if so, a damaged one asked for more than its due."""
    try:
        np.empty(1 << 28, np.uint8)
    except MemoryError:
        return False
    return True


def _opened(content: bytes) -> Image.Image:
    """Read a picture's header; one that is not of a kind photos come in is an ImageError."""
    try:
        return Image.open(io.BytesIO(content), formats=_formats())
    except UnidentifiedImageError as error:
        kind = _BRANDS.get(content[8:12], "") if content[4:8] == b"ftyp" else ""
        if kind and kind not in _formats():
            raise ImageError(f"{kind}: install mfrkit[heic] to read such files") from error
        raise ImageError("not a picture") from error


@functools.cache
def _formats() -> list[str]:
    """Return the kinds that are read here, HEIC among them where its plugin is installed."""
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def picture_suffix(content: bytes) -> str:
    """Return the suffix a picture file's content asks for, `.jpg` for JPEG."""
    try:
        with _opened(content) as picture:
            kind = (picture.format or "").lower()
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError("not a picture") from error
    return _SUFFIXES.get(kind, f".{kind}")


def _is_plain(picture: Image.Image, content: bytes) -> bool:
    """Whether OpenCV reads this file exactly as Pillow does.

    OpenCV turns a truncated JPEG into a partly grey picture without a word, so files without
    their end marker are left to Pillow, which refuses them; and damaged PNGs likewise.
    """
    is_whole = _WHOLE.get(picture.format or "")
    return (
        is_whole is not None
        and picture.mode in ("RGB", "L")
        and "transparency" not in picture.info
        and is_whole(content)
        and _orientation(picture) == 1
    )


def _is_whole_png(content: bytes) -> bool:
    """Whether all parts are as their checksums say: libpng prints what it finds otherwise."""
    at, view = 8, memoryview(content)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(view[at : at + 4])
        if int.from_bytes(view[end - 4 : end]) != zlib.crc32(view[at + 4 : end - 4]):
            return False
        if view[at + 4 : at + 8] == b"IEND":
            return True
        at = end
    return False


_WHOLE: dict[str, Callable[[bytes], bool]] = {
    "JPEG": lambda content: _TRAILER in content[-_TRAILER_WINDOW:],
    "PNG": _is_whole_png,
}


def _orientation(picture: Image.Image) -> int:
    """Return how a picture is stored, 1 to 8; 1, upright, where its tags do not say it in order."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # tags of any type and order
        if concerns_the_run(error):
            raise
        return 1
    return value if value in _UPRIGHT else 1


def _decode_plain(content: bytes) -> NDArray[np.uint8] | None:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    return None if decoded is None else decoded.astype(np.uint8, copy=False)


def read_layer(path: Path) -> NDArray[np.uint8]:
    """Decode a picture as (H, W, 4) uint8, RGB and opacity: 255 if it is without transparency."""
    try:
        with _opened(read_content(path)) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise InputError(f"{path}: too large: {picture.width}x{picture.height} pixels")
            return np.array(picture.convert("RGBA"))
    except ImageError as error:
        raise InputError(f"{path}: {error}") from error
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like
        if concerns_the_run(error):
            raise
        raise InputError(f"{path}: not a readable picture ({error})") from error


def _decode_any(picture: Image.Image) -> NDArray[np.uint8]:
    picture.seek(0)
    picture.load()
    turn = _UPRIGHT.get(_orientation(picture))  # asked for behind `load`, which turns TIFF itself
    upright = picture if turn is None else picture.transpose(turn)
    if upright.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255, not scale it
        deep = np.asarray(upright, dtype=np.int32)
        grey = np.clip(deep // 257, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.mode == "F":
        raise ImageError("floating-point pixels: convert it to 8 or 16 bits")
    if upright.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(paper, layer)
    return np.array(upright.convert("RGB"))


def encode_image(image: NDArray[np.uint8], suffix: str, *, quality: int = 95) -> bytes:
    """Encode a picture, (H, W, 3) RGB or (H, W) grey, as `.png` or as `.jpg` of full colour.

    Any other suffix is an ImageError. The quality of JPEG is in [1, 100].
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
    parameters: list[int] = []
    if suffix == ".jpg":
        parameters = [cv2.IMWRITE_JPEG_QUALITY, quality]
        parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    elif suffix != ".png":
        raise ImageError(f"cannot write {suffix!r} pictures: use .png or .jpg")
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Encode a picture by its suffix and write it whole; see `encode_image` and `write_held`."""
    write_held(path, encode_image(image, path.suffix))
