"""`inpaint` with networks whose answers are known: green is a mask, and completion is grey."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.models import registry
from mfrkit.models.cards import ModelCard
from mfrkit.stages.embed import EmbedOptions, embed
from mfrkit.stages.inpaint import inpaint
from mfrkit.stages.options import InpaintOptions

SKIN, GREEN = (190, 150, 130), (0, 255, 0)


class Green(nn.Module):
    """Find pure green."""

    def __init__(self):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(40.0))

    def forward(self, faces):
        return (faces[:, 1:2] - faces[:, :1] - 1) * self.sharpness


class Grey(nn.Module):
    """Fill regions with grey."""

    def __init__(self):
        super().__init__()
        self.tone = nn.Parameter(torch.tensor(0.5))

    def forward(self, faces, region):
        return region * self.tone + (1 - region) * faces


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with two models, and masked/: two masked faces, a bare one, a broken one."""
    monkeypatch.chdir(tmp_path)
    for task, network in (("region", Green), ("completion", Grey)):
        place = (__name__, network.__name__)
        monkeypatch.setitem(registry.ARCHITECTURES, network.__name__, place)
        card = ModelCard(name=task, task=task, architecture=network.__name__)
        registry.save_network(Path(f"{task}.safetensors"), network(), card)
    for name, side, top in (("a/1", 112, 56), ("a/2", 224, 168), ("b/1", 112, 112)):
        picture = np.full((side, side, 3), SKIN, np.uint8)
        picture[top:] = GREEN
        region = np.where((picture == GREEN).all(2), 255, 0).astype(np.uint8)
        for root, pixels in (("masked", picture), ("given", region)):
            path = Path(root, f"{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    Path("masked/b/2.png").write_bytes(b"no picture")
    return tmp_path


def run(source="masked", **options):
    chosen = {
        "output": Path("completed"),
        "model": "completion.safetensors",
        "region_model": "region.safetensors",
        "run": RunOptions(workers=2, batch_size=2, device="cpu"),
    } | options
    return inpaint(InpaintOptions(source=str(source), **chosen), Console(-1))


def records(folder="completed"):
    lines = Path(folder, "manifest.jsonl").read_text().splitlines()
    return {record["key"]: record for record in map(json.loads, lines)}


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_masked_faces_are_completed_and_others_pass(here):
    tally = run(save_region=True, preview=Path("sheet.png"))
    assert (tally.written, tally.skipped) == (3, 1)
    found = records()
    one, two, bare = (found[key]["inpaint"] for key in ("a/1", "a/2", "b/1"))
    assert (one["masked"], one["coverage"], one["from"]) == (True, 0.5, "predicted")
    assert (two["masked"], two["coverage"]) == (True, pytest.approx(0.25, abs=0.01))
    assert (bare["masked"], bare["coverage"]) == (False, 0)
    assert found["b/2"]["status"] == "skipped"
    picture = pixels_of("completed/a/1.png")
    assert (picture[:56] == SKIN).all()
    assert (picture[56:] == 128).all()
    assert (pixels_of("completed/b/1.png") == pixels_of("masked/b/1.png")).all()
    region = pixels_of(Path("completed", one["region"]))
    assert (region[:56] == 0).all()
    assert (region[56:] > 250).all()
    assert pixels_of("sheet.png").shape[1] > 1000


def test_a_larger_crop_keeps_its_pixels_away_from_the_region(here):
    run()
    before, after = (pixels_of(f"{folder}/a/2.png") for folder in ("masked", "completed"))
    assert after.shape == before.shape == (224, 224, 3)
    assert (after[:120] == before[:120]).all()
    assert np.abs(after[190:].astype(int) - 128).max() <= 2
    assert not (after == GREEN).all(2).any()


def test_given_regions_need_no_predictor_and_are_believed(here):
    (here / "region.safetensors").unlink()
    mask = np.zeros((112, 112), np.uint8)
    mask[:4, :4] = 255  # far too small to be predicted as a mask
    Image.fromarray(mask).save("given/b/1.png")
    Path("given/a/1.png").unlink()
    run(region="given")
    found = records()
    assert found["b/1"]["inpaint"]["masked"]
    assert (pixels_of("completed/b/1.png")[:4, :4] == 128).all()
    assert found["a/1"]["reason"].startswith("no region")


def test_regions_of_the_manifest(here):
    lines = [
        {"path": "a/1.png", "mask": {"type": "cloth", "region": "../given/a/1.png"}},
        {"path": "a/2.png", "mask": {"type": "cloth", "region": "_regions/a/2.png"}},
        {"path": "b/1.png", "mask": {"type": "none"}},
    ]
    Path("masked/_regions/a").mkdir(parents=True)
    Path("given/a/2.png").rename("masked/_regions/a/2.png")
    Path("masked/manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    run(region="manifest")
    found = records()
    assert "leaves its folder" in found["a/1"]["reason"]
    assert found["a/2"]["inpaint"]["masked"]
    assert found["a/2"]["mask"] == {"type": "cloth"}  # its file is in another folder
    assert not found["b/1"]["inpaint"]["masked"]


def test_results_do_not_depend_on_batches_or_resuming(here):
    run()
    run(output=Path("other"), run=RunOptions(workers=1, batch_size=3, device="cpu"))
    assert records() == records("other")
    for name in ("a/1", "a/2", "b/1"):
        assert Path(f"completed/{name}.png").read_bytes() == Path(f"other/{name}.png").read_bytes()
    with pytest.raises(InputError, match="--force replaces it"):
        run()


def test_mistakes(here):
    with pytest.raises(InputError, match="predicted, manifest or a folder"):
        run(region="nowhere")
    with pytest.raises(InputError, match="is for region, not completion"):
        run(model="region.safetensors")
    with pytest.raises(InputError, match="is for completion, not region"):
        run(region_model="completion.safetensors")
    assert not Path("completed").exists()
    Image.fromarray(np.zeros((80, 112, 3), np.uint8)).save("tall.png")
    with pytest.raises(PartialError):
        run("tall.png")
    assert "no aligned crop" in records()["tall"]["reason"]


def test_embedding_notes_who_is_masked(here):
    Path("masked/a/2.png").unlink()  # of another size than the recogniser's
    lines = [{"path": "a/1.png"}, {"path": "b/1.png", "mask": {"type": "cloth"}}]
    Path("masked/manifest.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    run_options = RunOptions(workers=1, device="cpu")
    for output, looks in (("looked.h5", True), ("said.h5", False)):
        options = EmbedOptions(
            "masked",
            Path(output),
            detect_mask=looks,
            region_model="region.safetensors",
            run=run_options,
        )
        embed(options, Console(-1))
    with EmbeddingReader(Path("looked.h5")) as looked, EmbeddingReader(Path("said.h5")) as said:
        assert looked.masked.tolist() == [1, 0]
        assert said.masked.tolist() == [-1, 1]
        assert looked.mask_types == said.mask_types == ["", "cloth"]
        assert len(looked.attributes["mask_model_sha256"]) == 64
        assert "mask_model_sha256" not in said.attributes
        assert looked.attributes["model"] == "mfr"
