"""Event files, read back by a decoder written from the format's description."""

import struct

from mfrkit.io.events import EventWriter, crc32c


def records(content):
    """Split framed records, checking both checksums."""
    while content:
        head, content = content[:12], content[12:]
        (length,) = struct.unpack("<Q", head[:8])
        for data, stored in ((head[:8], head[8:]), (content[:length], content[length:])):
            crc = crc32c(data)
            masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack("<I", stored[:4])[0] == masked
        yield content[:length]
        content = content[length + 4 :]


def fields(message):
    """Decode one level of a protocol buffer into (number, value) pairs."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, message[at : at + size]
            at += size


def test_crc32c_known_values():
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_scalars_come_back(tmp_path):
    with EventWriter(tmp_path / "run", "1.2.0") as writer:
        writer.add(300, {"loss": 0.25, "lr": 0.5})
        assert len(list(records(writer.path.read_bytes()))) == 2  # on disk before the end
    first, second = records(writer.path.read_bytes())
    assert (3, b"brain.Event:2") in list(fields(first))
    event = dict(fields(second))
    assert event[2] == 300
    values = [dict(fields(value)) for _, value in fields(event[5])]
    assert [(v[1], struct.unpack("<f", v[2])[0]) for v in values] == [(b"loss", 0.25), (b"lr", 0.5)]


def test_pictures_come_back(tmp_path):
    content = bytes(range(256))
    with EventWriter(tmp_path, "1") as writer:
        writer.add_png(7, "samples", content, (20, 300))
    event = dict(fields(list(records(writer.path.read_bytes()))[1]))
    value = dict(fields(dict(fields(event[5]))[1]))
    assert (event[2], value[1]) == (7, b"samples")
    assert dict(fields(value[4])) == {1: 20, 2: 300, 3: 3, 4: content}
