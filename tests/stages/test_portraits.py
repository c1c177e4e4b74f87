import torch
from torch import nn

from mfrkit.console import Console
from mfrkit.models.cards import ModelCard
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser
from mfrkit.stages.portraits import find_doubt, try_out


class Lightness(nn.Module):
    """No recogniser: it sees how light a face is."""

    def forward(self, faces):
        return torch.cat([faces.mean((1, 2, 3))[:, None], faces.std((1, 2, 3))[:, None]], 1)


def test_a_recogniser_tells_the_portraits_apart_and_others_do_not(capsys):
    assert find_doubt(load_recogniser("arcface").eval()) is None
    card = ModelCard(name="light", task="recognition", architecture="none", note="Fed as usual.")
    light = Recogniser(Lightness(), card).eval()
    assert "two of one person have a cosine of" in find_doubt(light)
    try_out(light, "light.onnx", Console())
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "mfrkit: light.onnx: Fed as usual."
    assert told[1].startswith("mfrkit: warning: light.onnx: on the bundled portraits")
    assert "--colour" in told[1]
