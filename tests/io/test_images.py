import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mfrkit.errors import ImageError
from mfrkit.io import images
from mfrkit.io.images import (
    Packed,
    count_pixels,
    decode_image,
    encode_image,
    read_image,
    write_image,
)

RNG = np.random.default_rng(7)
# Smooth, so that JPEG keeps it within a few grey levels.
RAMP = np.stack(np.meshgrid(np.arange(64), np.arange(48)), -1) * 3
PICTURE = np.dstack([RAMP, np.full((48, 64, 1), 90)]).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def close(a, b, levels):
    return np.abs(a.astype(int) - b.astype(int)).max() <= levels


@pytest.mark.parametrize(
    ("kind", "options", "levels"),
    [
        ("PNG", {}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 6),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 6),
        ("WEBP", {"lossless": True}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
    ],
)
def test_common_formats(kind, options, levels):
    decoded = decode_image(saved(Image.fromarray(PICTURE), kind, **options))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (48, 64, 3)
    assert close(decoded, PICTURE, levels)


def test_fast_and_slow_decoders_agree_on_a_photograph(portrait):
    """OpenCV and Pillow must give the same pixels, or results would depend on the path taken."""
    fast = read_image(portrait)
    with Image.open(portrait) as picture:
        slow = np.asarray(picture.convert("RGB"))
    assert close(fast, slow, 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    upright = Image.fromarray(PICTURE)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(saved(stored, "PNG", exif=exif))
    assert np.array_equal(decoded, PICTURE)


def test_grey_becomes_three_equal_channels():
    grey = PICTURE[:, :, 0]
    decoded = decode_image(saved(Image.fromarray(grey), "PNG"))
    assert np.array_equal(decoded, np.repeat(grey[:, :, None], 3, 2))


def test_sixteen_bit_grey_is_scaled_not_clipped():
    deep = (PICTURE[:, :, 0].astype(np.uint16)) * 257
    decoded = decode_image(saved(Image.fromarray(deep), "PNG"))
    assert np.array_equal(decoded[:, :, 0], PICTURE[:, :, 0])


def test_sixteen_bit_rgb_png():
    """Pillow cannot write one: build it from the PNG specification."""
    deep = (PICTURE.astype(">u2") * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(name, body):
        crc = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert np.array_equal(decode_image(content), PICTURE)


def test_transparency_is_laid_over_white():
    layer = np.dstack([PICTURE, np.full((48, 64), 255, np.uint8)])
    layer[:10, :, 3] = 0
    decoded = decode_image(saved(Image.fromarray(layer), "PNG"))
    assert (decoded[:10] == 255).all()
    assert np.array_equal(decoded[10:], PICTURE[10:])


def test_palette_with_transparency():
    picture = Image.fromarray(PICTURE).quantize(32)
    decoded = decode_image(saved(picture, "GIF"))
    assert np.array_equal(decoded, np.asarray(picture.convert("RGB")))
    clear = decode_image(saved(picture, "PNG", transparency=picture.getpixel((0, 0))))
    assert (clear[0, 0] == 255).all()


def test_cmyk_jpeg_keeps_its_colours():
    red = Image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK")
    decoded = decode_image(saved(red, "JPEG", quality=95))
    assert close(decoded, np.full((32, 32, 3), (200, 30, 40), np.uint8), 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_truncated_files_are_refused(kind, share):
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), kind)
    with pytest.raises(ImageError, match="damaged|not a picture"):
        decode_image(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello, I am text\n" * 20, "not a picture"),
        (b"\xff\xd8\xff", "damaged|not a picture"),
    ],
)
def test_rubbish_is_refused(content, reason):
    with pytest.raises(ImageError, match=reason):
        decode_image(content)


def test_a_decompression_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    idat = b"IDAT" + zlib.compress(b"\0" * 1000)
    png += struct.pack(">I", len(idat) - 4) + idat + struct.pack(">I", zlib.crc32(idat))
    with pytest.raises(ImageError, match="too large: 30000x30000"):
        decode_image(png)


def test_headers_tell_the_pixels_of_what_can_be_decoded(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    archive = tmp_path / "all.tar"
    archive.write_bytes(b"head" + (tmp_path / "a.jpg").read_bytes())
    size = archive.stat().st_size - 4
    assert count_pixels(tmp_path / "a.jpg") == 1200
    assert count_pixels(Packed(archive, "a.jpg", 4, size)) == 1200
    for name in ("pipe.png", "b.png", "absent.png", "."):
        assert count_pixels(tmp_path / name) == 0


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path):
    for path in (tmp_path / "nothing.jpg", tmp_path):
        with pytest.raises(ImageError, match="unreadable"):
            read_image(path)


def test_png_round_trip_is_exact_and_jpeg_is_close(tmp_path):
    write_image(tmp_path / "a.png", PICTURE)
    write_image(tmp_path / "a.jpg", PICTURE)
    assert np.array_equal(read_image(tmp_path / "a.png"), PICTURE)
    assert close(read_image(tmp_path / "a.jpg"), PICTURE, 6)
    grey = PICTURE[:, :, 0]
    write_image(tmp_path / "g.png", grey)
    assert np.array_equal(read_image(tmp_path / "g.png")[:, :, 0], grey)


def test_encoding_is_deterministic_and_refuses_other_suffixes():
    assert encode_image(PICTURE, ".png") == encode_image(PICTURE.copy(), ".png")
    with pytest.raises(ImageError, match=r"\.tga"):
        encode_image(PICTURE, ".tga")


def test_only_plain_files_of_sane_size_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(60 << 30)
    for name, reason in (
        ("pipe.png", "not a plain file"),
        ("folder.png", "unreadable: Is a directory"),
        ("sparse.png", r"too large: 64.4 GB, limit 1.1"),
        ("nul\0.png", "unreadable: embedded null byte"),
        ("\ud800.png", "unreadable: "),
    ):
        with pytest.raises(ImageError, match=reason):
            read_image(tmp_path / name)


def test_kinds_no_photo_comes_in_are_not_parsed():
    for kind in ("DDS", "ICNS", "PCX", "TGA", "EPS"):
        content = saved(Image.fromarray(PICTURE).resize((64, 64)), kind)
        with pytest.raises(ImageError, match="^not a picture$"):
            decode_image(content)


def test_stereo_photos_give_their_first_picture():
    other = Image.fromarray(255 - PICTURE)
    content = saved(Image.fromarray(PICTURE), "MPO", save_all=True, append_images=[other])
    assert close(decode_image(content), PICTURE, 12)


def test_jpeg_2000_is_read():
    assert close(decode_image(saved(Image.fromarray(PICTURE), "JPEG2000")), PICTURE, 8)


def test_a_kind_that_needs_a_plugin_is_named(monkeypatch):
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    kinds = [kind for kind in images._formats() if kind != "HEIF"]
    monkeypatch.setattr(images, "_formats", lambda: kinds)
    with pytest.raises(ImageError, match=r"HEIF: install mfrkit\[heic\]"):
        decode_image(head)


def odd_exif(orientation):
    """An EXIF block whose Make is a float and whose orientation is in order."""
    entries = struct.pack("<HHIf", 0x010F, 11, 1, 1.5)
    entries += struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)


@pytest.mark.parametrize("orientation", [0, 1, 3, 9, 65535])
def test_orientation_is_applied_whatever_the_other_tags_hold(orientation):
    stored = Image.fromarray(PICTURE)
    content = saved(stored, "JPEG", quality=95, subsampling=0, exif=odd_exif(orientation))
    wanted = PICTURE[::-1, ::-1] if orientation == 3 else PICTURE
    assert close(decode_image(content), wanted, 8)


def test_what_a_decoder_raises_is_the_pictures_fault_unless_memory_is_out(monkeypatch):
    content = saved(Image.fromarray(PICTURE), "BMP")

    def fail(picture):
        raise error

    monkeypatch.setattr(images, "_decode_any", fail)
    error = RuntimeError("odd\nlines")
    with pytest.raises(ImageError, match="^damaged picture: odd$"):
        decode_image(content)
    error = MemoryError()
    with pytest.raises(ImageError, match="^damaged picture: MemoryError$"):
        decode_image(content)
    monkeypatch.setattr(images, "_has_memory", lambda: False)
    with pytest.raises(MemoryError):
        decode_image(content)
