"""`mfrkit synth-mask`: every option, through the console script."""

import json
import shutil

import cv2
import numpy as np
import pytest

from mfrkit.io.images import read_image, write_image


def records(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def blocks(record):
    return record["mask"].get("faces", [record["mask"]])


def test_photos_are_masked_where_their_faces_are(mfr, photos):
    mfr("synth-mask", photos, "-o", "out", "--type", "surgical", check=0)
    for record in records(mfr.folder / "out"):
        before, after = (
            read_image(photos / record["source"]),
            read_image(mfr.folder / "out" / record["path"]),
        )
        region = read_image(mfr.folder / "out" / record["mask"]["region"])[..., 0]
        assert before.shape == after.shape
        assert record["mask"]["type"] == "surgical"
        assert 0 < (region > 127).mean() < 0.1
        changed = (before != after).any(axis=2)
        assert changed.mean() < 0.1
        nose = np.array(blocks(record)[0]["points"])[2].round().astype(int)
        assert region[nose[1], nose[0]] == 255
        polygon = np.array(blocks(record)[0]["polygon"], np.float32)
        assert cv2.pointPolygonTest(polygon, tuple(map(float, nose)), False) > 0


def test_a_photo_with_two_faces_gets_two_masks_also_from_a_manifest(mfr, portrait):
    photo = read_image(portrait)
    mfr.folder.joinpath("pair").mkdir()
    write_image(mfr.folder / "pair" / "two.png", np.concatenate([photo, photo[:, ::-1]], axis=1))
    mfr("synth-mask", "pair", "-o", "found", check=0)
    (found,) = records(mfr.folder / "found")
    faces = blocks(found)
    assert len(faces) == 2
    assert len({json.dumps(face["spec"]) for face in faces}) == 2, "each face draws its own mask"
    assert {face["fit"] for face in faces} == {"mesh"}
    told = {"path": "two.png", "faces": faces}
    (mfr.folder / "pair" / "manifest.jsonl").write_text(json.dumps(told) + "\n")
    mfr("synth-mask", "pair", "-o", "told", "--detector", "none", check=0)
    assert (mfr.folder / "told/two.png").read_bytes() == (mfr.folder / "found/two.png").read_bytes()


def test_without_a_detector_photos_are_skipped_with_a_reason(mfr, photos):
    run = mfr("synth-mask", photos, "-o", "out", "--detector", "none", check=3)
    assert b"all 5 inputs were skipped" in run.stderr
    assert all("no landmarks" in r["reason"] for r in records(mfr.folder / "out"))


def test_wide_crops_are_masked(mfr, photos):
    mfr("align", photos, "-o", "wide", "--size", "224", "--margin", "0.5", check=0)
    mfr("synth-mask", "wide", "-o", "out", check=0)
    assert all(0.02 < r["mask"]["area"] < 0.15 for r in records(mfr.folder / "out"))


def test_variants_differ_and_the_first_is_the_only_one_of_a_plain_run(mfr, worked):
    crops = worked.folder / "crops"
    run = mfr("synth-mask", crops, "-o", "three", "--seed", "7", "--variants", "3", check=0)
    assert b"15 written from 5 inputs" in run.stderr
    found = records(mfr.folder / "three")
    assert len(found) == 15
    assert [r["key"].rpartition(".")[2] for r in found[1:3]] == ["mask2", "mask3"]
    assert len({json.dumps(r["mask"]["spec"]) for r in found}) == 15
    for record in records(worked.folder / "masked"):
        ours = (mfr.folder / "three" / record["path"]).read_bytes()
        assert ours == (worked.folder / "masked" / record["path"]).read_bytes()


def test_a_manifest_is_enough_to_draw_again(mfr, worked):
    masked = worked.folder / "masked"
    mfr("synth-mask", worked.folder / "crops", "-o", "again", "--specs", masked, check=0)
    for record in records(masked):
        assert (mfr.folder / "again" / record["path"]).read_bytes() == (
            masked / record["path"]
        ).read_bytes()
    short = mfr.folder / "short.jsonl"
    short.write_text((masked / "manifest.jsonl").read_text().splitlines()[0] + "\n")
    mfr("synth-mask", worked.folder / "crops", "-o", "some", "--specs", short, check=0)
    reasons = [r.get("reason") for r in records(mfr.folder / "some")]
    assert reasons[0] is None
    assert set(reasons[1:]) == {"no mask for it in short.jsonl"}


def test_a_manifest_older_than_meshes_draws_as_it_did(mfr, worked, photos):
    crops, early = mfr.folder / "crops", mfr.folder / "early.jsonl"
    shutil.copytree(worked.folder / "crops", crops)
    (crops / "manifest.jsonl").unlink()
    mfr("synth-mask", crops, "-o", "plain", "--detector", "none", check=0)
    mfr("synth-mask", crops, "-o", "meshed", check=0)
    plain, meshed = records(mfr.folder / "plain"), records(mfr.folder / "meshed")
    assert {r["mask"]["fit"] for r in plain} == {"five"}
    assert {r["mask"]["fit"] for r in meshed} == {"mesh"}
    for record in plain:
        del record["mask"]["fit"]
    early.write_text("".join(json.dumps(record) + "\n" for record in plain))
    mfr("synth-mask", crops, "-o", "again", "--specs", early, check=0)
    mfr("synth-mask", crops, "-o", "anew", "--specs", "meshed", check=0)
    for record in plain:
        old, new = (mfr.folder / name / record["path"] for name in ("plain", "meshed"))
        assert (mfr.folder / "again" / record["path"]).read_bytes() == old.read_bytes()
        assert (mfr.folder / "anew" / record["path"]).read_bytes() == new.read_bytes()
        assert old.read_bytes() != new.read_bytes()
    early.write_text(early.read_text().replace('"mask": {', '"mask": {"was": "early", '))
    mfr("synth-mask", photos, "-o", "photos", "--specs", early, check=0)
    drawn = [r for r in records(mfr.folder / "photos") if r["status"] == "ok"]
    assert {blocks(record)[0]["fit"] for record in drawn} == {"five"}


def test_the_mesh_of_a_manifest_is_what_the_mask_follows(mfr, worked):
    first = records(worked.folder / "crops")[0]
    first["root"] = str(worked.folder / "crops")
    areas = {}
    for name, yaw in (("as it is", first["align"]["yaw"]), ("turned", 40.0), ("none", None)):
        record = json.loads(json.dumps(first))
        record["align"]["yaw"] = yaw
        line = json.dumps(record).encode()
        run = mfr("synth-mask", "-", "-o", name, "--seed", "7", stdin=line)
        (drawn,) = records(mfr.folder / name)
        areas[name] = drawn.get("mask", {}).get("area") or drawn["reason"]
        assert run.returncode == (3 if yaw is None else 0)
    assert areas["as it is"] == records(worked.folder / "masked")[0]["mask"]["area"]
    assert areas["turned"] != areas["as it is"]
    assert areas["none"] == "malformed align block: points, landmarks, turn or matrix"


def test_probability_leaves_faces_bare(mfr, worked):
    crops = worked.folder / "crops"
    mfr("synth-mask", crops, "-o", "bare", "--probability", "0", check=0)
    for record in records(mfr.folder / "bare"):
        assert record["mask"]["type"] == "none"
        assert record["mask"]["polygon"] == []
        np.testing.assert_array_equal(
            read_image(mfr.folder / "bare" / record["path"]), read_image(crops / record["source"])
        )


def test_regions_soft_exact_both_or_none(mfr, worked):
    crops = worked.folder / "crops"
    mfr("synth-mask", crops, "-o", "both", "--region", "both", check=0)
    mfr("synth-mask", crops, "-o", "exact", "--region", "exact", check=0)
    mfr("synth-mask", crops, "-o", "plain", "--region", "none", check=0)
    for both, exact, plain in zip(
        *(records(mfr.folder / name) for name in ("both", "exact", "plain")), strict=True
    ):
        soft = read_image(mfr.folder / "both" / both["mask"]["region"])[..., 0]
        hard = read_image(mfr.folder / "both" / both["mask"]["region_exact"])[..., 0]
        assert len(np.unique(soft)) > 5
        np.testing.assert_array_equal(hard, np.where(soft > 127, 255, 0))
        name = exact["mask"]["region"]
        np.testing.assert_array_equal(read_image(mfr.folder / "exact" / name)[..., 0], hard)
        assert "region" not in plain["mask"]
    assert not (mfr.folder / "plain/_regions").exists()
    mfr("synth-mask", crops, "-o", "both", "--region", "none", "--force", check=0)
    assert not list((mfr.folder / "both").rglob("_regions*/**/*.png")), "--force clears both kinds"


def write_template(folder, left_right=(20, 180)):
    left, right = left_right
    points = {
        "top_left": [left, 60],
        "top": [100, 20],
        "top_right": [right, 60],
        "bottom_left": [30, 110],
        "bottom": [100, 180],
        "bottom_right": [170, 110],
    }
    layer = np.zeros((200, 200, 4), np.uint8)
    cv2.ellipse(layer, (100, 95), (85, 80), 0, 0, 360, (40, 160, 40, 255), -1)
    cv2.imwrite(str(folder / "mine.png"), layer)
    (folder / "mine.json").write_text(json.dumps({"points": points}))


def test_a_users_template_is_worn_and_checked(mfr, worked):
    write_template(mfr.folder)
    crops = worked.folder / "crops"
    mfr("synth-mask", crops, "-o", "mine", "--template", "mine.png", check=0)
    for record in records(mfr.folder / "mine"):
        assert record["mask"]["type"] == "template"
        assert record["mask"]["template"]["name"] == "mine.png"
        assert 0.1 < record["mask"]["area"] < 0.5
    run = mfr("synth-mask", "--template", "mine.png", "--check-template", check=0)
    assert b"fine" in run.stderr
    assert read_image(mfr.folder / "mine-check.png").shape[2] == 3
    write_template(mfr.folder, (180, 20))
    arguments = ("--template", "mine.png", "--check-template", "--preview", "bad.png")
    run = mfr("synth-mask", *arguments, check=2)
    assert b"top_left must be left of top" in run.stderr
    assert (mfr.folder / "bad.png").exists(), "the sheet shows what is wrong"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--type", "template"], "name the file with --template"),
        (["--template", "none.png"], "none.png: no such template"),
        (["--check-template"], "--template my.png"),
        (["--region", "some"], "expected soft, exact, both or none"),
        (["--variants", "0"], "at least 1"),
        (["--probability", "1.5"], "within 0 and 1"),
        (["--jitter", "9"], "within 0 and 2"),
        (["--detector", "dlib"], "expected auto"),
        (["--specs", "none.jsonl"], "no such manifest"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(mfr, worked, arguments, words):
    run = mfr("synth-mask", worked.folder / "crops", "-o", "out", *arguments, check=2)
    assert words in run.stderr.decode()
    assert len(run.stderr.decode().strip().splitlines()) == 1
    assert not (mfr.folder / "out").exists()


def test_list_prints_every_kind_and_draws_them_if_asked_to(mfr):
    run = mfr("synth-mask", "--list", check=0)
    names = [line.split("\t")[0] for line in run.stdout.decode().splitlines()[1:]]
    assert {"surgical", "n95", "nist-f", "maskinv", "template"} <= set(names)
    assert not any(mfr.folder.iterdir())
    again = mfr("synth-mask", "--list", "--preview", "kinds.png", check=0)
    assert again.stdout == run.stdout
    assert read_image(mfr.folder / "kinds.png").shape[1] > 600
    assert (
        "--force" in mfr("synth-mask", "--list", "--preview", "kinds.png", check=2).stderr.decode()
    )


def test_landmarks_in_the_manifest_shape_the_mask(mfr, worked):
    first = records(worked.folder / "crops")[0]
    points = np.array(first["align"]["points"])
    unit = float(np.hypot(*(points[1] - points[0])))
    jaw = [(1.3, 0.1), (1.3, 0.4), (1.28, 0.7), (1.22, 1.0), (1.1, 1.25), (0.9, 1.5), (0.6, 1.7),
           (0.3, 1.85), (0.0, 1.95)]  # fmt: skip
    broad = np.zeros((68, 2))
    for k, place in enumerate(unit * np.array(jaw)):
        broad[k], broad[16 - k] = place * [-1, 1], place
    broad += points[:2].mean(axis=0)
    first["align"] |= {"landmarks": broad.tolist(), "fit": "five"}
    first["root"] = str(worked.folder / "crops")
    mfr("synth-mask", "-", "-o", "broad", "--seed", "7", stdin=json.dumps(first).encode(), check=0)
    (wide,), plain = records(mfr.folder / "broad"), records(worked.folder / "masked")[0]
    assert wide["mask"]["spec"] == plain["mask"]["spec"]
    assert wide["mask"]["area"] > 1.1 * plain["mask"]["area"]
