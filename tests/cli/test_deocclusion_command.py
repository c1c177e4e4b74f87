"""`mfrkit distill --method deocclusion` as a user runs it, up to embeddings of plain crops."""

import h5py
import pytest
import torch

from mfrkit.io.checkpoints import read_header
from mfrkit.models.cards import ModelCard
from mfrkit.models.registry import build_network, load_network, save_network

FAST = ("--steps", "2", "-b", "4", "-j", "1", "--set", "fit.warmup=0")


@pytest.fixture
def here(mfr, noise_crops):
    """The commands in a folder that holds crops/ and a small generator."""
    torch.manual_seed(0)
    widths = {"widths": [8, 8, 8, 8], "heads": 2}
    network = build_network("completion-small", widths)
    card = ModelCard(
        name="tiny", task="completion", architecture="completion-small", arguments=widths
    )
    save_network(mfr.folder / "tiny.safetensors", network, card)
    return mfr


def distill(here, *extra, **expected):
    generator = ("--set", "method.generator=tiny.safetensors")
    return here("distill", "--method", "deocclusion", *generator, *FAST, *extra, **expected)


def test_one_file_completes_and_embeds(here):
    distill(here, "--relation", "instance,pair", check=0)
    card = read_header(here.folder / "student.safetensors").card
    assert card["architecture"] == "completing"
    assert card["embedding_dim"] == 192
    assert "arXiv:2409.12385" in card["paper"]
    assert card["config"]["method"]["relation"] == "instance,pair"
    student, _ = load_network(str(here.folder / "student.safetensors"))
    generator, _ = load_network(str(here.folder / "tiny.safetensors"))
    for name, tensor in generator.state_dict().items():
        assert torch.equal(student.state_dict()[f"generator.{name}"], tensor), name
    here("embed", "crops", "-o", "e.h5", "--model", "student.safetensors", check=0)
    with h5py.File(here.folder / "e.h5") as file:
        assert file["embeddings"].shape[1] == 192
    more = ("--init", "student.safetensors", "-o", "more.safetensors", "--steps", "1")
    distill(here, *more, check=0)
    # Its recogniser goes on, rather than being put behind a second generator.
    assert load_network(str(here.folder / "more.safetensors"))[0].state_dict().keys() == (
        student.state_dict().keys()
    )


def test_soft_targets_come_from_the_cache(here):
    refused = distill(here, "--target", "soft", check=2)
    assert b"add --teacher-cache FILE" in refused.stderr
    distill(here, "--target", "soft", "--teacher-cache", "t.h5", "--force", check=0)


def test_a_model_for_another_task_is_no_generator(here):
    run = here("distill", "--method", "deocclusion", "--set", "method.generator=arcface", check=2)
    assert b"is for recognition, not completion" in run.stderr
