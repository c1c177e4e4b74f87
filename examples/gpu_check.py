"""Check a GPU against the processor, then measure what it does; one table and one JSON file.

    python examples/gpu_check.py [--device cuda] [--json gpu_check.json] [--tiny]

Needs the repository and torch, no network and no data: the faces are the bundled portraits, turned,
moved and recoloured. Each line is a step of its own, and one that fails costs itself alone; steps
that would begin after `--minutes` are left out, and named. `--device cpu --tiny` tries the script
itself. Exit code 1 if a check fails.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch

import mfrkit
from mfrkit.errors import MfrError
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.spec import sample_spec
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.recognisers import load_recogniser

PHOTOS = Path(mfrkit.__file__).parent / "data" / "photos"
GREY_LEVELS, PIXELS, LEAST_COSINE, LOSS = 2, 1.0, 0.9995, 0.05  # what may differ
FAILURES = (RuntimeError, OSError, LookupError, ValueError, TypeError, StopIteration, MfrError)
POINTS = [[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]


class Check:
    """The steps, their results, and the clock."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.device, self.tiny, self.folder = options.device, options.tiny, folder
        self.until = time.monotonic() + 60 * options.minutes
        self.rows: list[dict] = []

    def step(self, name: str, work: Callable[[], tuple[str, bool | None]]) -> None:
        """Run one step; it returns what to print, and whether it is as it should be."""
        if time.monotonic() > self.until:
            self.rows.append({"step": name, "result": "left out: no time", "ok": None})
            return
        started = time.monotonic()
        try:
            result, ok = work()
        except FAILURES as error:
            result, ok = f"{type(error).__name__}: {error}".splitlines()[0][:300], False
        seconds = round(time.monotonic() - started, 1)
        self.rows.append({"step": name, "result": result, "ok": ok, "seconds": seconds})
        print(f"{'' if ok is None else 'ok' if ok else 'FAILED':7}{name:46}{result}", flush=True)

    def mfr(self, *words: object, device: str | None = None) -> float:
        """Run a command; return its seconds."""
        line = [sys.executable, "-m", "mfrkit", "-q", *map(str, words)]
        started = time.perf_counter()
        run = subprocess.run(
            [*line, "--device", device or self.device], cwd=self.folder, capture_output=True
        )
        if run.returncode:
            raise RuntimeError(run.stderr.decode().strip()[-300:])
        return time.perf_counter() - started

    def photos(self, count: int) -> None:
        """Write variations of the bundled portraits as JPEG."""
        random = np.random.default_rng(0)
        bases = [cv2.imread(str(path)) for path in sorted(PHOTOS.rglob("*.jpg"))]
        for number in range(count):
            base = bases[number % len(bases)]
            height, width = base.shape[:2]
            turn = cv2.getRotationMatrix2D(
                (width / 2, height / 2), random.normal(0, 8), random.uniform(0.85, 1.0)
            )
            photo = cv2.warpAffine(base, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
            photo = np.clip(photo * random.uniform(0.7, 1.2) + random.normal(0, 8), 0, 255)
            path = self.folder / "photos" / f"p{number % 50:02}" / f"{number:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), photo.astype(np.uint8))


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").open()]


def compare_align(check: Check) -> tuple[str, bool]:
    """Boxes, landmarks and which faces are found, on the device and on the processor."""
    check.mfr("align", "photos", "-o", "crops_cpu", "--format", "jpg", device="cpu")
    check.mfr("align", "photos", "-o", "crops", "--format", "jpg")
    pairs = list(
        zip(manifest(check.folder / "crops_cpu"), manifest(check.folder / "crops"), strict=True)
    )
    if any(a["status"] != b["status"] for a, b in pairs):
        return "not the same photos have a face", False
    found = [(a["align"], b["align"]) for a, b in pairs if a["status"] == "ok"]
    farthest = {
        name: max(float(np.abs(np.array(a[name]) - np.array(b[name])).max()) for a, b in found)
        for name in ("box", "landmarks")
    }
    text = ", ".join(f"{name} within {value:.3f} px" for name, value in farthest.items())
    return f"{len(found)} faces, {text}", max(farthest.values()) < PIXELS


def compare_masks(check: Check) -> tuple[str, bool]:
    """All kinds of masks, drawn on the device and on the processor."""
    for output, device in (("masked_cpu", "cpu"), ("masked", check.device)):
        check.mfr("synth-mask", "crops", "-o", output, "--seed", 3, device=device)
    worst, beyond, pixels = 0, 0, 0
    for record in manifest(check.folder / "masked"):
        a, b = (
            cv2.imread(str(check.folder / each / record["path"])).astype(int)
            for each in ("masked_cpu", "masked")
        )
        gap = np.abs(a - b)
        worst, pixels = max(worst, int(gap.max())), pixels + gap.size
        beyond += int((gap > GREY_LEVELS).sum())
    text = f"{len(manifest(check.folder / 'masked'))} faces, at most {worst} grey levels"
    return f"{text}, {beyond / pixels:.1e} beyond {GREY_LEVELS}", worst <= GREY_LEVELS


def compare_embeddings(check: Check, model: str) -> tuple[str, bool]:
    vectors = []
    for output, device in ((f"{model}_cpu.h5", "cpu"), (f"{model}.h5", check.device)):
        check.mfr("embed", "masked", "-o", output, "-m", model, device=device)
        with h5py.File(check.folder / output) as file:
            vectors.append(file["embeddings"][:])
    least = float((vectors[0] * vectors[1]).sum(1).min())
    return f"{len(vectors[0])} faces, least cosine {least:.6f}", least > LEAST_COSINE


def train(check: Check, output: str, steps: int, *more: str, device: str | None = None) -> dict:
    """Train a student some steps; return the last line of its history."""
    words = ("distill", "crops", "-o", f"{output}.safetensors", "--teacher", "arcface")
    sets = [word for each in more if "=" in each for word in ("--set", each)]
    flags = [each for each in more if "=" not in each]
    batch = 8 if check.tiny else 512
    check.mfr(
        *words, "--steps", steps, "-b", batch, "--set", "fit.log_every=1", "--set", "fit.warmup=0",
        "--set", "fit.save_every=1", *sets, *flags, device=device,
    )  # fmt: skip
    history = next(path for path in check.folder.rglob("history.jsonl") if output in str(path))
    lines = [json.loads(line) for line in history.open()]
    return next(line for line in reversed(lines) if "loss" in line)


def compare_training(check: Check, precision: str) -> tuple[str, bool]:
    plain = train(check, f"fp32_for_{precision}", 2, "fit.precision=fp32")["loss"]
    loss = train(check, f"run_{precision}", 2, f"fit.precision={precision}")["loss"]
    ok = bool(np.isfinite(loss)) and abs(loss - plain) < LOSS * abs(plain)
    return f"loss {loss:.4f}, fp32 {plain:.4f}", ok


def moved_training(check: Check) -> tuple[str, bool]:
    """A run begun on the processor, continued on the device."""
    train(check, "moved", 2, device="cpu")
    line = train(check, "moved", 3, "--resume")
    return f"loss {line['loss']:.4f} at step {line.get('step')}", bool(np.isfinite(line["loss"]))


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def render_rate(check: Check) -> tuple[str, None]:
    count, device = (16 if check.tiny else 1024), torch.device(check.device)
    specs = [sample_spec(5, str(number), MaskOptions()) for number in range(count)]
    faces = torch.rand(count, 3, 112, 112, device=device)
    points = torch.tensor([POINTS] * count)
    renderer = MaskRenderer().to(device)
    renderer(faces, points, specs)
    synchronise(check.device)
    started, rounds = time.perf_counter(), 1 if check.tiny else 10
    for _ in range(rounds):
        renderer(faces, points, specs)
    synchronise(check.device)
    return f"{rounds * count / (time.perf_counter() - started):.0f} faces/s", None


def memory_rate(check: Check, model: str) -> tuple[str, None]:
    count = 16 if check.tiny else 20480
    batch = min(count, 1024)
    crops = np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), dtype=np.uint8)
    with EmbedEngine(load_recogniser(model, torch.device(check.device))) as engine:
        for _ in engine.map([crops] * 2):
            pass
        started = time.perf_counter()
        for _ in engine.map([crops] * (count // batch)):
            pass
        return f"{count / (time.perf_counter() - started):.0f} faces/s, with flip", None


def stage_rate(check: Check, count: int, *words: str) -> tuple[str, None]:
    seconds = check.mfr(*words, "--force", "-b", 8 if check.tiny else 512)
    return f"{count / seconds:.0f}/s from files to results, start included ({seconds:.1f} s)", None


def train_rate(check: Check, student: str) -> tuple[str, None]:
    precision = "fp32" if check.device == "cpu" else "bf16"
    settings = (f"model.student={student}", f"fit.precision={precision}")
    line = train(check, f"rate_{student}", 2 if check.tiny else 40, *settings)
    return f"{line['faces_per_second']:.0f} faces/s, waiting {line['data_wait']:.0%}", None


def run(check: Check, count: int) -> None:
    """All steps, the checks first."""
    check.photos(count)
    check.step("align: detector and mesh", lambda: compare_align(check))
    check.step("synth-mask: all kinds", lambda: compare_masks(check))
    for model in ("arcface",) if check.tiny else ("arcface", "edgeface", "mfr"):
        check.step(f"embed: {model}", lambda model=model: compare_embeddings(check, model))
    for precision in ("bf16",) if check.device == "cpu" else ("bf16", "fp16"):
        check.step(f"training: {precision}", lambda p=precision: compare_training(check, p))
    check.step("training: begun on a processor", lambda: moved_training(check))
    check.step("rate: renderer, on the device", lambda: render_rate(check))
    for model in ("arcface",) if check.tiny else ("mfr", "arcface"):
        check.step(f"rate: embed {model}, crops in memory", lambda m=model: memory_rate(check, m))
    for words in (("align", "photos", "-o", "crops"), ("synth-mask", "crops", "-o", "masked")):
        words = (*words, "--format", "jpg")
        check.step(f"rate: {words[0]}", lambda words=words: stage_rate(check, count, *words))
    embed = ("embed", "crops", "-o", "mfr.h5", "-m", "arcface" if check.tiny else "mfr")
    check.step("rate: embed", lambda: stage_rate(check, count, *embed))
    for student in ("mobilefacenet",) if check.tiny else ("edgeface", "mobilefacenet", "iresnet18"):
        check.step(f"rate: training {student}", lambda s=student: train_rate(check, s))
    if not check.tiny:
        compiled = ("fit.compile=true", "fit.precision=bf16")
        check.step("training: fit.compile", lambda: (str(train(check, "comp", 4, *compiled)), True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--tiny", action="store_true", help="a few faces, to try the script")
    parser.add_argument("--minutes", type=float, default=7.0)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(f"gpu_check: torch {torch.__version__} finds no CUDA device; try --device cpu")
    on_cuda = options.device.startswith("cuda")
    card = torch.cuda.get_device_name(options.device) if on_cuda else "processor"
    print(f"{card}, torch {torch.__version__}, mfrkit {mfrkit.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        check = Check(options, Path(folder))
        run(check, 4 if options.tiny else 1000)
    peak = torch.cuda.max_memory_allocated() >> 20 if on_cuda else None
    document = {"device": card, "torch": torch.__version__, "peak_mib_here": peak}
    options.json.write_text(json.dumps(document | {"steps": check.rows}, indent=2) + "\n")
    print(f"-> {options.json}")
    sys.exit(any(row["ok"] is False for row in check.rows))


if __name__ == "__main__":
    main()
