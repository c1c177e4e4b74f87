"""Training speed of `mfrkit distill` against a plain loop, taking turns in one process.

Ours is the whole loop of the command: reading ahead, drawn masks, both views, teacher, student
forward and backward, optimiser, log. The plain one is what one writes in an evening: decode with
Pillow, paint a flat mask with numpy, face by face; eager networks in full precision. Both start
from the same weights and see the same crops in batches of the same size.

    python examples/bench_training.py crops --count 512
    python examples/bench_training.py crops --set fit.compile=true --set fit.precision=bf16
    python examples/bench_training.py wide --teacher edgeface --set model.student=edgeface

Wide crops (`mfrkit align --size 224 --margin 0.5`) are aligned anew by the mesh, the plain loop
takes their middle.
"""

import argparse
import copy
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.models.loading import load_recogniser
from mfrkit.training.distill import build, find_method, resolve
from mfrkit.training.fit import fit
from mfrkit.training.options import DistillRequest
from mfrkit.training.world import World


class Ours:
    """The command's own loop, as many steps at a time as asked for."""

    def __init__(
        self, crops: str, teacher: str, batch: int, steps: int, assignments: list[str]
    ) -> None:
        given = [f"fit.steps={steps}", f"fit.batch_size={batch}", f"fit.log_every={steps}"]
        request = DistillRequest(
            data=(crops,),
            output=Path("student.safetensors"),
            teachers=(teacher,),
            assignments=(*given, *assignments),
            run=RunOptions(workers=1),
        )
        self.settings = resolve(request)
        torch.manual_seed(0)
        method = find_method(request.method)
        built = build(method, request, self.settings, torch.device("cpu"), World(), Console(-1))
        self.folder = tempfile.TemporaryDirectory()
        self.parts = replace(built, check=None, folder=Path(self.folder.name))

    def __call__(self) -> None:
        fit(self.parts, self.settings.fit, Console(-1), World(), resume=False)

    def data_wait(self) -> float:
        """Share of the time of the last steps that the loop waited for data."""
        lines = (Path(self.folder.name) / "history.jsonl").read_text().splitlines()
        return float(json.loads(lines[-1])["data_wait"])


class Plain:
    """Decode, paint, teacher, student, step; one thing after the other."""

    def __init__(self, paths: list[Path], teacher: str, batch: int, steps: int) -> None:
        self.paths, self.batch, self.steps = paths, batch, steps
        self.random = np.random.default_rng(0)
        self.teacher = load_recogniser(teacher).requires_grad_(False)
        self.student = copy.deepcopy(self.teacher).requires_grad_(True).train()
        self.optimiser = torch.optim.AdamW(self.student.parameters(), 4e-4, weight_decay=1e-4)

    def __call__(self) -> None:
        for _ in range(self.steps):
            chosen = self.random.choice(len(self.paths), self.batch)
            views = [self.views(self.paths[place]) for place in chosen]
            clean, masked = (
                torch.from_numpy(np.stack(view)).permute(0, 3, 1, 2).contiguous().float() / 255
                for view in zip(*views, strict=True)
            )
            with torch.no_grad():
                template = self.teacher(clean)
            loss = (1 - F.cosine_similarity(self.student(masked), template)).mean()
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
            self.optimiser.step()

    def views(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """A crop, and a copy with a trapezium of one colour from the nose down."""
        with Image.open(path) as picture:
            edges = [(side - 112) // 2 for side in picture.size]
            middle = picture.crop((*edges, edges[0] + 112, edges[1] + 112))
            clean = np.asarray(middle.convert("RGB"))
        if self.random.random() < 0.5:
            clean = clean[:, ::-1].copy()
        if self.random.random() < 0.25:
            return clean, clean.copy()
        rows, columns = np.mgrid[: clean.shape[0], : clean.shape[1]]
        width = 40 - 20 * np.clip((rows - 66) / 46, 0, 1)
        inside = (rows > 66) & (np.abs(columns - clean.shape[1] / 2) < width)
        return clean, np.where(inside[..., None], self.random.integers(0, 256, 3), clean).astype(
            np.uint8
        )


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a call takes."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("crops", help="folder of aligned crops")
    parser.add_argument("--count", type=int, default=512, help="faces each trains on, about")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--teacher", default="arcface")
    parser.add_argument("--set", action="append", default=[], help="a setting of ours")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = max(1, options.count // (options.batch * options.rounds))
    ours = Ours(options.crops, options.teacher, options.batch, steps, options.set)
    warm_up = timed(ours)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    paths = [face.path for face in ours.parts.batches.data.faces]
    plain = Plain(paths, options.teacher, options.batch, steps)
    spent: dict[str, list[tuple[float, float]]] = {"mfrkit": [], "plain loop": []}
    waits = []
    for _ in range(options.rounds):
        spent["mfrkit"].append(timed(ours))
        waits.append(ours.data_wait())
        spent["plain loop"].append(timed(plain))
    faces = steps * options.batch * options.rounds
    rates = {}
    for name, rounds in spent.items():
        clock, processor = (sum(values) for values in zip(*rounds, strict=True))
        rates[name] = faces / clock, faces / processor
        print(f"{name:12} {faces / clock:7.1f} faces/s  {faces / processor:7.1f} per processor s")
    clock, processor = (a / b for a, b in zip(rates["mfrkit"], rates["plain loop"], strict=True))
    print(f"mfrkit / plain loop: {clock:.2f} by the clock, {processor:.2f} by the processor")
    print(f"data wait {max(waits):.1%}; warm-up {warm_up[0]:.0f} s; peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
