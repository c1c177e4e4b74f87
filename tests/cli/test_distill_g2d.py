"""`mfrkit distill --method g2d` in two processes: three runs one after another."""

import subprocess
import sys

import torch
from safetensors.torch import load_file

from mfrkit.io.checkpoints import read_header
from mfrkit.models.cards import ModelCard
from mfrkit.models.registry import build_network, save_network


def test_two_processes_train_all_phases(mfr, noise_crops):
    """The same global batch, dealt out to two, gives a reformer like that of one process."""
    torch.manual_seed(0)
    for name, architecture in (("completion", "completion-small"), ("region", "region")):
        card = ModelCard(name=name, task=name, architecture=architecture)
        network = build_network(architecture, {})
        save_network(mfr.folder / f"{name}.safetensors", network, card)
    line = ["distill", "crops", "--method", "g2d", "--steps", "1", "-b", "4", "-j", "1"]
    for setting in (
        "fit.warmup=0",
        "encoder.check.faces=0",
        "encoder.method.critic_width=4",
        "reformer.method.region=region.safetensors",
        "reformer.fit.optimiser=sgd",
        "reformer.fit.lr=0.02",
    ):
        line += ["--set", setting]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "mfrkit", *line),
            *("--init", "completion.safetensors", "-o", "two.safetensors"),
        ],
        cwd=mfr.folder,
        env=mfr.environment,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    told = run.stderr.decode()
    assert [f"phase {n}, {name}" in told for n, name in
            ((1, "encoder"), (2, "reformer"), (3, "classifier"))] == [True] * 3  # fmt: skip
    card = read_header(mfr.folder / "two.safetensors").card
    assert card["arguments"]["people"] == ["p0", "p1", "p2"]
    single = (*line, "--phase", "2", "--init", "two-encoder.safetensors", "-o", "one.safetensors")
    mfr(*single, check=0)
    one, two = (load_file(mfr.folder / f"{name}-reformer.safetensors") for name in ("one", "two"))
    trained = [name for name in one if name.startswith("reformer.")]
    assert all(torch.equal(one[name], two[name]) for name in one if name not in trained)
    apart = sum(float((one[n] - two[n]).square().sum()) for n in trained) ** 0.5
    whole = load_file(mfr.folder / "two.safetensors")
    assert all(torch.equal(two[name], whole[name]) for name in two)
    assert 0 < apart < 1e-3 * sum(float(one[n].square().sum()) for n in trained) ** 0.5
