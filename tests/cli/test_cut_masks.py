"""`mfrkit cut-masks`: masks off faces, onto others; drawn masks stand in for really worn ones."""

import json

import numpy as np
import pytest

from mfrkit.io.images import read_image
from mfrkit.masks.worn import WornFile


@pytest.fixture(scope="module")
def cut(worked):
    """The working folder of the README's short lines, with the masks of its faces in a file."""
    arguments = ("masked", "-o", "worn.safetensors", "--preview", "worn.png", "-j", "1")
    run = worked("cut-masks", *arguments, check=0)
    assert b"masks; left out:" in run.stderr
    return worked


def records(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_masks_are_cut_out_of_faces_that_wear_some(cut):
    file = WornFile.read(cut.folder / "worn.safetensors")
    assert 2 <= len(file.keys) <= 5
    assert set(file.keys) <= {record["key"] for record in records(cut.folder / "masked")}
    assert read_image(cut.folder / "worn.png").shape[0] > 100


def test_a_mask_that_was_cut_out_has_the_colour_it_was_drawn_in(cut):
    file = WornFile.read(cut.folder / "worn.safetensors")
    drawn = {record["key"]: record["mask"]["spec"] for record in records(cut.folder / "masked")}
    for key, planes in zip(file.keys, file.planes, strict=True):
        shown = np.median(planes[:3, planes[3] > 150], axis=1) / 255
        wanted = np.array(drawn[key]["color"])
        assert np.corrcoef(shown - shown.mean(), wanted - wanted.mean())[0, 1] > 0.5 or (
            np.ptp(wanted) < 0.1 and np.ptp(shown) < 0.2
        )


def test_others_wear_them_the_same_ones_again_by_seed_and_by_manifest(cut):
    worn = ("--worn-from", "worn.safetensors")
    cut("synth-mask", "crops", "-o", "w1", *worn, "--seed", "3", check=0)
    cut(
        "synth-mask",
        "crops",
        "-o",
        "w2",
        "--type",
        "worn",
        *worn,
        "--seed",
        "3",
        "-b",
        "2",
        check=0,
    )
    cut("synth-mask", "crops", "-o", "w3", *worn, "--specs", "w1/manifest.jsonl", check=0)
    keys = WornFile.read(cut.folder / "worn.safetensors").keys
    for record in records(cut.folder / "w1"):
        assert record["mask"]["type"] == "worn"
        assert record["mask"]["worn"]["key"] in keys
        assert 0.15 < record["mask"]["area"] < 0.5
        first = (cut.folder / "w1" / record["path"]).read_bytes()
        for other in ("w2", "w3"):
            assert (cut.folder / other / record["path"]).read_bytes() == first


def test_bare_faces_have_no_mask_to_cut_out(cut):
    run = cut("cut-masks", "crops", "-o", "none.safetensors", check=2)
    assert b"crops: no mask to cut out; 5 no mask over nose and mouth" in run.stderr
    assert not (cut.folder / "none.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synth-mask", "crops", "-o", "x", "--type", "worn"], "name the file with --worn-from"),
        (
            ["synth-mask", "crops", "-o", "x", "--worn-from", "no.file"],
            "no such file of worn masks",
        ),
        (["cut-masks", "masked", "-o", "worn.safetensors"], "exists"),
        (["cut-masks", "masked", "-o", "more", "--most", "0"], "--most 0: expected at least 1"),
        (["distill", "crops", "--set", "masks.types=worn"], "masks.worn_from"),
        (["distill", "crops", "--method", "g2d", "--unnamed", "masked"], "no really masked faces"),
    ],
)
def test_bad_input_is_refused_in_words(cut, arguments, message):
    assert message in cut(*arguments, check=2).stderr.decode()


def test_a_student_is_trained_with_them_and_with_faces_nobody_has_named(cut):
    settings = ("masks.types=worn", "masks.worn_from=worn.safetensors", "masks.probability=1")
    assigned = [word for each in settings for word in ("--set", each)]
    arguments = (
        "--steps",
        "2",
        "-b",
        "4",
        "-j",
        "1",
        "--set",
        "unnamed.count=3",
        "-o",
        "s.safetensors",
    )
    cut("distill", "crops", "--unnamed", "masked", *arguments, *assigned, check=0)
    history = (cut.folder / "s.run" / "history.jsonl").read_text().splitlines()
    last = json.loads(history[-1])
    assert 0 < last["unnamed_template"] < 1.5
    assert last["unnamed"] > 0
