"""Which of a person's photos are portraits, and what the steps of a run get of the others."""

import numpy as np
import pytest
import torch

from mfrkit.errors import InputError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.real_masks import RealOptions, UnnamedOptions
from mfrkit.methods.views import ViewOptions
from mfrkit.models.loading import load_recogniser
from mfrkit.training.crops import read_crop
from mfrkit.training.real_faces import open_real, open_unnamed
from mfrkit.training.world import World

SIZE = (112, 112)


def table(folder, rows, header="key,masked,portrait"):
    path = folder / "real.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return RealOptions(table=str(path), count=4)


@pytest.fixture
def real(noise_crops, tmp_path):
    """p0 with a portrait and three masked photos, p1 with two of each, p2 masked only."""
    rows = [f"p0/p0_{i},{int(i > 0)},{int(i == 0)}" for i in range(4)]
    rows += [f"p1/p1_{i}.png,{int(i > 1)},{int(i < 2)}" for i in range(4)]
    rows += [f"p2/p2_{i},1,0" for i in range(4)]
    return open_real([str(noise_crops)], table(tmp_path, rows), SIZE)


def test_people_with_both_kinds_take_part(real):
    assert real.summary == "5 masked faces and 3 portraits of 2 people"
    assert real.portraits.identities == ["p0", "p1"]
    assert [face.record.key for face in real.portraits.faces] == ["p0/p0_0", "p1/p1_0", "p1/p1_1"]
    assert [face.label for face in real.masked.faces] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(("header", "row"), [("key,masked", "{},{}"), ("key;portrait", "{};{}")])
def test_one_column_is_enough(noise_crops, tmp_path, header, row):
    flag = "masked" in header
    rows = [row.format(f"p{p}/p{p}_{i}", int((i > 0) == flag)) for p in range(3) for i in range(4)]
    found = open_real([str(noise_crops)], table(tmp_path, rows, header), SIZE)
    assert found.summary == "9 masked faces and 3 portraits of 3 people"


def test_without_a_table_the_region_predictor_looks(tmp_path, worked):
    """Portraits and the same with masks drawn on them, a folder for each person."""
    sources = [str(worked.folder / "crops"), str(worked.folder / "masked")]
    found = open_real(sources, RealOptions(), SIZE)
    assert len(found.portraits.identities) == 3
    assert len(found.masked) == len(found.portraits) == 5


def test_templates_are_those_of_the_portraits_with_their_mirror_images(real):
    teacher = load_recogniser("arcface")
    found = real.templates([teacher], workers=1)
    crops = np.stack([read_crop(face, SIZE).pixels for face in real.portraits.faces])
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        each = torch.nn.functional.normalize(teacher(pixels) + teacher(pixels.flip(3)))
    wanted = torch.stack([each[0], each[1] + each[2]])
    assert torch.nn.functional.cosine_similarity(found, wanted).min() > 0.9995
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_a_step_gets_its_faces_unmasked_and_in_place(real):
    views = ViewOptions(rotation=5, scale=0.1, shift=0.1, gain=0.1, align="mesh")
    batches = real.batches(RealOptions(count=4), views, SIZE, 3, World())
    raw, again = batches.load(5), batches.load(5)
    assert len(raw.crops) == 4
    assert torch.equal(raw.index, again.index)
    assert all(draw.is_still and not draw.meshed and draw.spec.kind == "none" for draw in raw.draws)
    assert len({draw.gain for draw in raw.draws}) == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["p0/p0_0,0,1", "p0/p0_1,1,0"], "1 people have both"),
        (["other,1,0"], "0 people have both"),
    ],
)
def test_too_few_people_are_refused(noise_crops, tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        open_real([str(noise_crops)], table(tmp_path, rows), SIZE)


def test_a_table_without_the_columns_is_refused(noise_crops, tmp_path):
    with pytest.raises(InputError, match="no column `masked` or `portrait`"):
        open_real([str(noise_crops)], table(tmp_path, ["p0/p0_0,1"], "key,mask"), SIZE)


def test_each_face_comes_with_a_mask_to_be_drawn_over_its_own_and_misaligned(noise_crops):
    found = open_unnamed([str(noise_crops)])
    assert found.summary == "12 masked faces of unknown people"
    views = ViewOptions(rotation=5, blur=1.0)
    masks = MaskOptions(types={"surgical": 1.0}, probability=0.3)
    batches = found.batches(UnnamedOptions(count=5), views, masks, SIZE, 3, World())
    raw = batches.load(4)
    assert len(raw.crops) == 5
    assert torch.equal(raw.index, batches.load(4).index)
    assert all(draw.spec.kind == "surgical" and not draw.is_still for draw in raw.draws)
    assert all(draw.coarse > 1 for draw in raw.draws)


def test_anchors_are_the_teachers_templates_in_order(noise_crops):
    teacher = load_recogniser("arcface")
    found = open_unnamed([str(noise_crops)])
    anchors = found.anchors([teacher], workers=1)
    for place in (0, 7):
        crop = torch.from_numpy(read_crop(found.data.faces[place], SIZE).pixels)
        pixels = crop.permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            wanted = teacher(pixels) + teacher(pixels.flip(3))
        cosine = torch.nn.functional.cosine_similarity(anchors[place][None], wanted)
        assert cosine.item() > 0.9995
