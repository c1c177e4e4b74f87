"""`mfrkit models calibrate` as a user runs it."""

import json

import h5py
import numpy as np
import pytest

from mfrkit.models.cards import STATES
from mfrkit.models.registry import read_card

PEOPLE, PHOTOS, DIM = 30, 4, 16


def write(path, spread, seed, model="maskinv", **attributes):
    """Unit vectors that scatter about one direction a person, keys with the person's folder."""
    random = np.random.default_rng(seed)
    people = np.random.default_rng(0).normal(size=(PEOPLE, 1, DIM))
    vectors = (people + spread * random.normal(size=(PEOPLE, PHOTOS, DIM))).reshape(-1, DIM)
    names = [f"p{p:02d}/{seed}_{n}" for p in range(PEOPLE) for n in range(PHOTOS)]
    with h5py.File(path, "w") as file:
        file["embeddings"] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        file["keys"] = names
        file["identities"] = [name.partition("/")[0] for name in names]
        made = {"model": model, "weights_sha256": read_card(model)[0].sha256, "flip": True}
        file.attrs.update(made | attributes)
        return file["embeddings"][:].astype(np.float32), np.repeat(np.arange(PEOPLE), PHOTOS)


def test_thresholds_are_those_of_all_comparisons(mfr):
    (bare, who), (worn, _) = (
        write(mfr.folder / name, spread, seed)
        for name, spread, seed in (("a.h5", 0.4, 1), ("b.h5", 0.8, 2))
    )
    files = ("--unmasked", "a.h5", "--masked", "b.h5")
    run = mfr("models", "calibrate", "maskinv", *files, "-o", "c.safetensors", check=0)
    assert b"too few for FMR 0.001" in run.stderr  # 6,960 impostor pairs
    card = read_card(str(mfr.folder / "c.safetensors"))[0]
    assert card.sha256 == read_card("maskinv")[0].sha256
    upper = np.triu_indices(len(who), 1)
    for state, first, second in zip(STATES, (bare, bare, worn), (bare, worn, worn), strict=True):
        scores, same = first @ second.T, who[:, None] == who
        if first is second:
            scores, same = scores[upper], same[upper]
        point = next(each for each in card.thresholds[state] if each.fmr == pytest.approx(1e-2))
        genuine, impostor = scores[same], scores[~same]
        assert (point.genuine, point.impostors) == (len(genuine), len(impostor))
        assert (impostor >= point.threshold).mean() <= 0.01
        assert (impostor >= point.threshold - 1e-3).mean() > 0.01 - 3 / len(impostor)
        assert point.fnmr == pytest.approx((genuine < point.threshold).mean(), abs=1e-6)
    shown = mfr("models", "show", "c.safetensors", check=0).stdout
    assert b"masked-masked" in shown


def test_states_that_are_not_measured_keep_theirs(mfr):
    for name, seed in (("a.h5", 1), ("b.h5", 2)):
        write(mfr.folder / name, 0.4, seed)
    mfr("models", "calibrate", "maskinv", "--unmasked", "a.h5", "-o", "c.safetensors", check=0)
    more = ("--masked", "b.h5", "-o", "d.safetensors")
    mfr("models", "calibrate", "c.safetensors", *more, check=0)
    before, after = (
        json.loads(mfr("models", "show", name, "--json", check=0).stdout)["thresholds"]
        for name in ("c.safetensors", "d.safetensors")
    )
    assert before.pop("masked-masked") != after.pop("masked-masked")
    assert "unmasked-unmasked" in before
    assert before == after


def test_what_cannot_be_calibrated(mfr):
    def refused(*options):
        arguments = ("models", "calibrate", "maskinv", "-o", "c.safetensors", *options)
        return mfr(*arguments, check=2).stderr.decode()

    write(mfr.folder / "other.h5", 0.4, 1, model="arcface")
    write(mfr.folder / "straight.h5", 0.4, 1, flip=False)
    write(mfr.folder / "good.h5", 0.4, 1)
    assert "give --unmasked, --masked, or both" in refused()
    assert "other.h5: embeddings of another model" in refused("--unmasked", "other.h5")
    assert "embedded with --no-flip" in refused("--masked", "straight.h5")
    assert "between 0 and 1" in refused("--masked", "good.h5", "--fmr", "2")
    assert "too few comparisons" in refused("--masked", "good.h5", "--fmr", "1e-6")
    assert not (mfr.folder / "c.safetensors").exists()
