"""Embedding files made up by others: they read nothing elsewhere and ask for no memory."""

import errno
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.hdf5 import FallibleFile


def test_hdf5_written_through_it_is_an_ordinary_file(tmp_path):
    with FallibleFile(tmp_path / "a.h5") as target:
        with h5py.File(target, "w") as file:
            file["x"] = np.arange(100_000)
        target.check()
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["x"][:], np.arange(100_000))


@pytest.mark.parametrize("kilobytes", [1, 4, 64, 300])
def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path, kilobytes):
    """In a process of its own, because the crash comes when the process ends."""
    code = f"""
        import resource, signal, h5py, numpy as np
        from mfrkit.io.hdf5 import FallibleFile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes} * 1024,) * 2)
        with FallibleFile({str(tmp_path / "a.h5")!r}) as target:
            with h5py.File(target, "w") as file:
                for name in range(20):
                    file[f"x{{name}}"] = np.random.rand(10_000)
                    file[f"t{{name}}"] = ["text"] * 1000
            try:
                target.check()
            except OSError as error:
                raise SystemExit(error.errno)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert run.returncode == errno.EFBIG


KEYS = ["a/1", "a/2", "b/1"]


@pytest.fixture
def made(tmp_path):
    """Make an embedding file of three rows, changed by a function."""

    def make(change=lambda file: None, leave_out=()):
        path = tmp_path / "made.h5"
        with h5py.File(path, "w") as file:
            for name, content in (("embeddings", np.eye(3, 4, dtype="f4")), ("keys", KEYS)):
                if name not in leave_out:
                    file[name] = content
            change(file)
        return path

    return make


def read_all(path):
    with EmbeddingReader(path) as reader:
        return list(reader.blocks()), reader.index, reader.skipped


def external(file):
    with h5py.File("secret.h5", "w") as other:
        other["keys"] = KEYS
    file["keys"] = h5py.ExternalLink("secret.h5", "/keys")


def raw_elsewhere(file):
    with open("secret.txt", "w") as other:
        other.write("do not read me aloud")
    file.create_dataset("keys", (3,), "S6", external=[("secret.txt", 0, 18)])


def virtual(file):
    with h5py.File("secret.h5", "w") as other:
        other["keys"] = np.array(KEYS, "S3")
    layout = h5py.VirtualLayout((3,), "S3")
    layout[:] = h5py.VirtualSource("secret.h5", "keys", (3,))
    file.create_virtual_dataset("keys", layout)


def soft(file):
    file["other"] = KEYS
    file["keys"] = h5py.SoftLink("/other")


@pytest.mark.parametrize("change", [external, raw_elsewhere, virtual, soft])
def test_nothing_is_read_from_elsewhere(made, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = made(change, leave_out=["keys"])
    with pytest.raises(InputError, match=r"made\.h5: .*(elsewhere|other files)"):
        read_all(path)


def shared_text(file):
    """Sixty thousand rows that all refer to one text of half a megabyte."""
    count, kind = 60_000, h5py.string_dtype()
    one = file.create_dataset("one", (1,), kind, chunks=(1,))
    one[0] = "x" * 500_000
    file.flush()
    reference = one.id.read_direct_chunk((0,))[1]
    keys = file.create_dataset("keys", (count,), kind, chunks=(count,))
    keys.id.write_direct_chunk((0,), reference * count)
    del file["embeddings"]
    file["embeddings"] = np.zeros((count, 1), "f4")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.create_dataset("embeddings", (3, 1_000_000_000), "f4", chunks=(1, 1_000_000)),
        lambda f: f.create_dataset("embeddings", (300_000_000, 4), "f4", chunks=(100_000, 4)),
        lambda f: f.create_dataset(
            "embeddings", (3, 1), "f4", chunks=(500_000_000, 1), maxshape=(None, 1)
        ),
        lambda f: f.create_dataset(
            "embeddings", (3, 20_000_000), "f4", chunks=(3, 20_000_000), compression="gzip"
        ),
    ],
)
def test_vectors_that_the_file_cannot_hold(made, change):
    with pytest.raises(InputError, match=r"made\.h5: 'embeddings' claims \d+ values"):
        read_all(made(change, leave_out=["embeddings"]))


def test_texts_that_the_file_cannot_hold(made):
    def wide(file):
        file.create_dataset("keys", (3,), "S900000000", chunks=(1,))

    with pytest.raises(InputError, match=r"made\.h5: 'keys' claims 3 values of 900000000"):
        read_all(made(wide, leave_out=["keys"]))


def test_a_text_shared_by_all_rows(made):
    """In a process of its own, whose memory is limited."""
    path = made(shared_text, leave_out=["keys"])
    code = f"""
import resource
from pathlib import Path
from mfrkit.errors import InputError
from mfrkit.io.embeddings import EmbeddingReader
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
with EmbeddingReader(Path({str(path)!r})) as reader:
    try:
        reader.index
    except InputError as error:
        raise SystemExit(str(error))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "'keys' claims" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.create_group("identities"), "'identities' is no dataset"),
        (lambda f: f.__setitem__("identities", ["x"]), r"identities is \(1,\), expected \(3,\)"),
        (lambda f: f.__setitem__("norms", KEYS), "norms is of type object"),
        (lambda f: f.__setitem__("identities", h5py.Empty("f4")), "'identities' is no dataset"),
        (lambda f: f.__setitem__("skipped/keys", "x"), r"skipped/keys is \(\), expected \(1,\)"),
        (lambda f: f.__setitem__("mask_type", [1, 2, 3]), "mask_type is of type int64"),
        (lambda f: f.__setitem__("skipped", [1]), "'skipped' is no group"),
        (lambda f: f.__setitem__("skipped/keys", ["x"]), "their reasons do not go together"),
        (
            lambda f: (
                f.__setitem__("skipped/keys", ["x", "y"]),
                f.__setitem__("skipped/reasons", ["r"]),
            ),
            r"skipped/reasons is \(1,\), expected \(2,\)",
        ),
        (lambda f: f.attrs.__setitem__("complete", [1, 2]), "marked as unfinished"),
        (lambda f: f.attrs.__setitem__("model", np.zeros(2000)), "'model' is larger"),
    ],
)
def test_parts_that_are_not_those_of_an_embedding_file(made, change, message):
    with pytest.raises(InputError, match=rf"made\.h5: .*{message}"):
        read_all(made(change))


def test_keys_must_be_texts(made):
    with pytest.raises(InputError, match="keys is of type int64"):
        read_all(made(lambda f: f.__setitem__("keys", [1, 2, 3]), leave_out=["keys"]))


def test_damage_within_the_data_names_the_file(made):
    def checked(file):
        file.create_dataset(
            "keys", data=np.array(KEYS * 1000, "S3"), chunks=(3000,), fletcher32=True
        )
        del file["embeddings"]
        file["embeddings"] = np.zeros((3000, 1), "f4")

    path = made(checked, leave_out=["keys"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"b/1a/1", b"b/1a/9", 1))
    with pytest.raises(InputError, match=r"made\.h5: damaged HDF5 file"):
        read_all(path)


def test_a_file_in_use_is_called_so(made):
    path = made()
    code = (
        f"import h5py, sys; f = h5py.File({str(path)!r}, 'r+'); print(flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        writer.stdout.readline()
        with pytest.raises(InputError, match=r"made\.h5: in use by a program that writes to it"):
            read_all(path)
    finally:
        writer.communicate()
    assert read_all(path)[1] == {"a/1": 0, "a/2": 1, "b/1": 2}


def test_keys_of_other_programs_lose_their_suffix(made):
    path = made(lambda f: f.__setitem__("keys", ["./a/1.jpg", "a/2.png", "b/1"]), ["keys"])
    assert list(read_all(path)[1]) == KEYS
    with h5py.File(path, "r+") as file:
        file.attrs["mfrkit"] = "1.0"  # its own keys are what they are
    assert list(read_all(path)[1]) == ["./a/1.jpg", "a/2.png", "b/1"]
