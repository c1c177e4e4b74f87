"""Really masked faces without names: what the steps of a run get of them."""

import torch

from mfrkit.masks.options import MaskOptions
from mfrkit.methods.real_masks import UnnamedOptions
from mfrkit.methods.view_draw import ViewOptions
from mfrkit.models.recognisers import load_recogniser
from mfrkit.stages.train_crops import read_crop
from mfrkit.stages.unnamed_faces import open_unnamed
from mfrkit.stages.world import World

SIZE = (112, 112)


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
