"""Decode and encode pictures: RGB uint8 arrays inside, any common file outside.

Pillow reads the header (true size, mode, orientation) before a pixel is decoded, and decodes the
unusual kinds: CMYK, palettes, transparency, 16 bits, animation. OpenCV decodes plain JPEG and PNG
and encodes everything, because it is about twice as fast at the one and three times at the other.
BGR never leaves this file.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mfrkit.errors import ImageError, InputError
from mfrkit.io.files import write_whole
from mfrkit.io.packed import Packed

# Enough for a 200-megapixel phone; beyond it a small file can ask for gigabytes of memory.
MAX_PIXELS = 200_000_000
Image.MAX_IMAGE_PIXELS = None  # our own limit replaces Pillow's, which warns as well as refuses

_TRAILERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TRAILER_WINDOW = 64  # cameras append a few bytes behind the end marker


def read_image(path: Path | Packed) -> NDArray[np.uint8]:
    """Decode a picture, upright.

    Convention:
        Orientation tags are applied, transparency is laid over white, 16-bit values are scaled,
        and an animation gives its first frame.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        ImageError: missing, empty, truncated, not a picture, or more than `MAX_PIXELS`; the text
            is short and names no file, as it becomes a manifest's `reason`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"unreadable: {error.strerror or error}") from error
    return decode_image(content)


def decode_image(content: bytes) -> NDArray[np.uint8]:
    """Decode the bytes of a picture file; see `read_image`."""
    if not content:
        raise ImageError("empty file")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"too large: {width}x{height} pixels, limit {MAX_PIXELS}")
            if _is_plain(picture, content):
                decoded = _decode_plain(content)
                if decoded is not None:
                    return decoded
            return _decode_any(picture)
    except UnidentifiedImageError as error:
        raise ImageError("not a picture") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"damaged picture: {error}") from error


def picture_suffix(content: bytes) -> str:
    """Return the suffix a picture file's content asks for, `.jpg` for JPEG.

    Raises:
        ImageError: not a picture.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind = (picture.format or "").lower()
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError("not a picture") from error
    return ".jpg" if kind in ("jpeg", "mpo") else f".{kind}"


def _is_plain(picture: Image.Image, content: bytes) -> bool:
    """Whether OpenCV reads this file exactly as Pillow does.

    OpenCV turns a truncated file into a partly grey picture without a word, so files without
    their end marker are left to Pillow, which refuses them.
    """
    trailer = _TRAILERS.get(picture.format or "")
    return (
        trailer is not None
        and picture.mode in ("RGB", "L")
        and "transparency" not in picture.info
        and trailer in content[-_TRAILER_WINDOW:]
        and picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
    )


def _decode_plain(content: bytes) -> NDArray[np.uint8] | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if decoded is None:
        return None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def read_layer(path: Path) -> NDArray[np.uint8]:
    """Decode a picture with its transparency.

    Returns:
        (H, W, 4) uint8, RGB and opacity; 255 throughout for a picture without transparency.

    Raises:
        InputError: not a readable picture, or too large.
    """
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"{path}: too large: {picture.width}x{picture.height} pixels")
            return np.array(picture.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture ({error})") from error


def _decode_any(picture: Image.Image) -> NDArray[np.uint8]:
    picture.seek(0)
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255, not scale it
        deep = np.asarray(upright, dtype=np.uint32)
        grey = np.minimum(deep // 257, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if upright.mode == "F":
        raise ImageError("floating-point pixels: convert it to 8 or 16 bits")
    if upright.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(paper, layer)
    return np.array(upright.convert("RGB"))


def encode_image(image: NDArray[np.uint8], suffix: str, *, quality: int = 95) -> bytes:
    """Encode a picture.

    Args:
        image: (H, W, 3) RGB or (H, W) grey, uint8.
        suffix: `.png` (lossless) or `.jpg`.
        quality: JPEG quality in [1, 100]; colour is not subsampled.

    Raises:
        ImageError: a suffix that cannot be written.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
    parameters: list[int] = []
    if suffix == ".jpg":
        parameters = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
    elif suffix != ".png":
        raise ImageError(f"cannot write {suffix!r} pictures: use .png or .jpg")
    encoded = cv2.imencode(suffix, image, parameters)[1]
    return encoded.tobytes()


def write_image(path: Path, image: NDArray[np.uint8], *, quality: int = 95) -> None:
    """Encode a picture by its suffix and write it whole; see `encode_image`."""
    write_whole(path, encode_image(image, path.suffix, quality=quality))
