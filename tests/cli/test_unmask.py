"""EUM as a user runs it: train on crops or on files, unmask, fuse, evaluate."""

import hashlib
import shutil

import numpy as np
import pytest
from conftest import Shell, write_noise_crops
from h5py import File
from safetensors.torch import load_file

from mfrkit.io.checkpoints import read_header
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.models.registry import WEIGHTS

TRAIN = ("distill", "--method", "eum", "-b", "8", "-j", "1", "--set", "fit.save_every=1")


def table(path):
    with EmbeddingReader(path) as reader:
        return reader.block(0, reader.count), reader.attributes


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with crops, both embedding files, and a network trained on the crops."""
    mfr = Shell(tmp_path_factory.mktemp("eum"))
    write_noise_crops(mfr.folder / "crops")
    arcface = digest(WEIGHTS / "arcface.safetensors")
    mfr(*TRAIN, "crops", "-o", "eum.safetensors", "--steps", "6", "--lr", "0.01", check=0)
    assert digest(WEIGHTS / "arcface.safetensors") == arcface
    return mfr


def test_the_card_says_whose_templates_it_takes(here):
    card = read_header(here.folder / "eum.safetensors").card
    base = read_header(WEIGHTS / "arcface.safetensors").card
    assert (card["task"], card["architecture"], card["embedding_dim"]) == ("unmasking", "eum", 192)
    assert card["base"] == {"model": "arcface", "weights_sha256": base["sha256"], "flip": True}
    assert "arXiv:2103.01716" in card["paper"]


def test_the_runs_templates_are_those_of_embed(here):
    """What the frozen recogniser says inside the run is what it says outside, to the last bit."""
    here("embed", "-o", "clean.h5", "-m", "arcface", check=0)
    clean, _ = table(here.folder / "clean.h5")
    own, attributes = table(here.folder / "eum.run" / "templates-0.h5")
    assert np.array_equal(own.embeddings, clean.embeddings)
    assert own.masked.tolist() == [0] * 12
    masked, _ = table(here.folder / "eum.run" / "templates-1.h5")
    again, _ = table(here.folder / "eum.run" / "templates-2.h5")
    assert masked.masked.tolist() == [1] * 12
    assert masked.keys == own.keys
    assert not np.array_equal(masked.embeddings, again.embeddings)
    assert attributes["model"] == "arcface"


def test_unmask_fuse_and_eval_chain(here):
    folder = here.folder
    shutil.copy(folder / "eum.run" / "templates-1.h5", folder / "masked.h5")
    here("unmask", "masked.h5", "-o", "unmasked.h5", "-m", "eum.safetensors", check=0)
    before, _ = table(folder / "masked.h5")
    after, attributes = table(folder / "unmasked.h5")
    assert after.keys == before.keys
    assert np.array_equal(after.norms, before.norms)
    assert np.array_equal(after.masked, before.masked)
    assert attributes["model"] == "arcface+eum"
    assert np.linalg.norm(after.embeddings, axis=1) == pytest.approx(np.ones(12), abs=1e-5)
    assert not np.allclose(after.embeddings, before.embeddings, atol=1e-3)
    here("fuse", "masked.h5", "unmasked.h5", "-o", "fused.h5", "--weights", "1,3", check=0)
    keys = before.keys
    lines = [f"{keys[i]} {keys[j]} {int(i // 4 == j // 4)}" for i in range(12) for j in range(i)]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    run = here("eval", "pairs.txt", "masked.h5", "unmasked.h5", "fused.h5", check=0)
    assert "arcface+eum" in run.stdout.decode()
    refused = here("fuse", "masked.h5", "unmasked.h5", "-o", "fused.h5")
    assert refused.returncode == 2
    assert "--force replaces it" in refused.stderr.decode()


def test_only_masked_rows_if_asked(here):
    folder = here.folder
    shutil.copy(folder / "eum.run" / "templates-1.h5", folder / "half.h5")
    with File(folder / "half.h5", "r+") as file:
        file["masked"][:6] = 0
    here("unmask", "half.h5", "-o", "out.h5", "-m", "eum.safetensors", "--only-masked", check=0)
    before, _ = table(folder / "half.h5")
    after, _ = table(folder / "out.h5")
    changed = np.any(before.embeddings != after.embeddings, axis=1)
    assert changed.tolist() == [False] * 6 + [True] * 6


def test_files_alone_give_a_network_too_and_resuming_changes_nothing(here):
    """The closed case: no crop, no recogniser. Cut short after 3 of 6 steps, or not: the same."""
    files = ("eum.run/templates-0.h5", "eum.run/templates-1.h5")
    here(*TRAIN, *files, "-o", "whole.safetensors", "--steps", "6", check=0)
    here(*TRAIN, *files, "-o", "cut.safetensors", "--steps", "6", check=0)
    folder = here.folder
    (folder / "cut.safetensors").unlink()
    newest = sorted((folder / "cut.run").glob("checkpoint-*.pt"))[-1]
    newest.unlink()
    here(*TRAIN, *files, "-o", "cut.safetensors", "--steps", "6", "--resume", check=0)
    one, two = (load_file(folder / f"{name}.safetensors") for name in ("whole", "cut"))
    assert all(bool((one[name] == two[name]).all()) for name in one)
    card = read_header(folder / "whole.safetensors").card
    assert card["base"]["model"] == "arcface"
    assert card["config"]["teachers"] == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ((*TRAIN, "crops", "-t", "arcface", "-t", "maskinv"), "one recogniser"),
        ((*TRAIN, "crops", "--student", "iresnet18"), "no --student"),
        ((*TRAIN, "crops", "--teacher-cache", "t.h5"), "no --teacher-cache"),
        ((*TRAIN, "crops", "--real", "crops"), "no --real"),
        ((*TRAIN, "crops", "--pairs", "p.txt"), "measure with mfrkit unmask"),
        ((*TRAIN, "eum.run/templates-0.h5"), "no row is marked as masked"),
        ((*TRAIN, "eum.run/templates-0.h5", "-t", "arcface"), "so no --teacher"),
        (("unmask", "eum.run/templates-1.h5", "-m", "arcface"), "is for recognition"),
        (("unmask", "none.h5", "-m", "eum.safetensors"), "no such file"),
        (("embed", "crops", "-m", "eum.safetensors"), "is for unmasking, not recognition"),
    ],
)
def test_mistakes_stop_with_one_line(here, line, message):
    run = here(*line, "-o", "never", "--force")  # the refused run before left a folder
    assert run.returncode == 2, run.stderr
    assert message in run.stderr.decode()
    assert len(run.stderr.splitlines()) == 1
    assert not (here.folder / "never").exists()


def test_templates_of_others_are_refused(here):
    folder = here.folder
    for name, change, message in [
        ("other", {"weights_sha256": "0" * 64, "model": "theirs"}, "templates of theirs"),
        ("twice", {"unmasked_by": "eum"}, "unmasked already"),
    ]:
        shutil.copy(folder / "eum.run" / "templates-1.h5", folder / f"{name}.h5")
        with File(folder / f"{name}.h5", "r+") as file:
            file.attrs.update(change)
        run = here("unmask", f"{name}.h5", "-o", "no.h5", "-m", "eum.safetensors")
        assert (run.returncode, message in run.stderr.decode()) == (2, True), run.stderr
    with File(folder / "narrow.h5", "w") as file:
        file["embeddings"] = np.ones((2, 5), np.float32)
        file["keys"] = ["a", ""]
    run = here("unmask", "narrow.h5", "-o", "no.h5", "-m", "eum.safetensors")
    assert b"has 5 values a row" in run.stderr
