"""Check a GPU against the processor, then measure what it does; one table and one JSON file.

    python examples/gpu_check.py [--device cuda] [--json gpu_check.json] [--tiny]

Needs the repository and torch, no network and no data: the faces are the bundled portraits, turned,
moved and recoloured. Each line is a step of its own, and one that fails costs itself alone; steps
that would begin after `--minutes` are left out, and named. `--device cpu --tiny` tries the script
itself. Exit code 1 if a check fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import h5py
import numpy as np
import torch

import mfrkit
from mfrkit.cli import app
from mfrkit.errors import MfrError
from mfrkit.masks.options import MaskOptions
from mfrkit.masks.renderer import MaskRenderer
from mfrkit.masks.spec import sample_spec
from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.training import run as training

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
        self.peaks: dict[str, dict[str, int]] = {}  # of each command, MiB

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
        """Run a command and note the most memory it took; return its seconds."""
        device = device or self.device
        line = [sys.executable, "-m", "mfrkit", "-q", *map(str, words), "--device", device]
        before, used = card_memory(device), 0
        with tempfile.TemporaryFile() as said:
            started = time.perf_counter()
            process = subprocess.Popen(line, cwd=self.folder, stdout=said, stderr=said)
            ended = 0
            while not ended:
                time.sleep(0.02)
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                used = max(used, card_memory(device) - before)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                raise RuntimeError(said.read().decode().strip()[-300:])
        most = self.peaks.setdefault(f"{words[0]} on {device}", {"memory": 0, "card": 0})
        for name, peak in (("memory", usage.ru_maxrss >> 10), ("card", used)):
            most[name] = max(most[name], peak)
        return seconds

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


def card_memory(device: str) -> int:
    """Return what all processes hold of a card, MiB."""
    if not device.startswith("cuda"):
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) >> 20


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


def training_words(check: Check, output: str, steps: int, *more: str) -> list[str]:
    """Return the command that trains a student some steps, saying each."""
    sets = ["fit.log_every=1", "fit.warmup=0", "fit.save_every=1"]
    sets += [each for each in more if "=" in each]
    flags = [each for each in more if "=" not in each]
    batch = 8 if check.tiny else 512
    words = ["distill", "crops", "-o", f"{output}.safetensors", "--teacher", "arcface"]
    words += ["--steps", str(steps), "-b", str(batch), *flags]
    return [*words, *(word for each in sets for word in ("--set", each))]


def history(check: Check, output: str) -> list[dict]:
    lines = (check.folder / f"{output}.run" / "history.jsonl").open()
    return [line for line in map(json.loads, lines) if "loss" in line]


def train(check: Check, output: str, steps: int, *more: str, device: str | None = None) -> dict:
    """Train a student some steps; return the last line of its history."""
    check.mfr(*training_words(check, output, steps, *more), device=device)
    return history(check, output)[-1]


def compare_training(check: Check, name: str, setting: str) -> tuple[str, bool]:
    """A few steps in full precision and in another way."""
    plain = train(check, f"fp32_for_{name}", 2, "fit.precision=fp32")["loss"]
    loss = train(check, f"run_{name}", 2, setting)["loss"]
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


class Clocks:
    """Seconds of each call of some functions, a device's work included."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._device = device

    def around(self, name: str, function: Callable, *, waits: bool = True) -> Callable:
        """Return the function with a clock; without `waits`, of what the host does alone."""

        def timed(*given: object) -> object:
            synchronise(self._device if waits else "cpu")
            started = time.perf_counter()
            result = function(*given)
            synchronise(self._device if waits else "cpu")
            self.seconds[name].append(time.perf_counter() - started)
            return result

        return timed

    def typical(self, name: str) -> float:
        """Return the median of a function's calls, which no warm-up moves."""
        return float(np.median(self.seconds[name]))


@contextmanager
def clocked_training(clocks: Clocks) -> Iterator[None]:
    """Put clocks round the views (masks drawn, faces aligned) and the reading of each step."""
    fit = training.fit

    def clocked_fit(parts: training.FitParts, *rest: object, **more: object) -> object:
        parts.batches.load = clocks.around("reading", parts.batches.load, waits=False)
        return fit(replace(parts, show=clocks.around("views", parts.show)), *rest, **more)

    with patch.object(training, "fit", clocked_fit):
        yield


def train_rate(check: Check, name: str, *settings: str) -> tuple[str, None]:
    """Train in this process; say how fast, and where the time of a step goes."""
    precision = "fp32" if check.device == "cpu" else "bf16"
    output, clocks = f"rate_{name}", Clocks(check.device)
    steps = 2 if check.tiny else 40
    words = training_words(check, output, steps, f"fit.precision={precision}", *settings)
    if check.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(check.device)
    with chdir(check.folder), clocked_training(clocks):
        app(["-q", *words, "--device", check.device], standalone_mode=False)
    lines = history(check, output)
    rate = float(np.median([line["faces_per_second"] for line in lines]))
    step = (8 if check.tiny else 512) / rate
    text = f"{rate:.0f} faces/s; of a step views take {clocks.typical('views') / step:.0%}, "
    text += f"waiting for data {np.median([line['data_wait'] for line in lines]):.0%}; reading "
    text += f"{clocks.typical('reading') / step:.2f} cores"
    if check.device.startswith("cuda"):
        text += f"; {torch.cuda.max_memory_allocated(check.device) >> 20} MiB of tensors"
    return text, None


def run(check: Check, count: int) -> None:
    """All steps, the checks first."""
    check.photos(count)
    check.step("align: detector and mesh", lambda: compare_align(check))
    check.step("synth-mask: all kinds", lambda: compare_masks(check))
    for model in ("arcface",) if check.tiny else ("arcface", "edgeface", "mfr"):
        check.step(f"embed: {model}", lambda model=model: compare_embeddings(check, model))
    ways = [("bf16", "fit.precision=bf16")]
    ways += [("fp16", "fit.precision=fp16")] * (check.device != "cpu")
    ways += [("compiled", "fit.compile=true")] * (not check.tiny)
    for name, setting in ways:
        check.step(f"training: {name}", lambda w=(name, setting): compare_training(check, *w))
    check.step("training: begun on a processor", lambda: moved_training(check))
    check.step("rate: renderer, on the device", lambda: render_rate(check))
    for model in ("arcface",) if check.tiny else ("mfr", "arcface"):
        check.step(f"rate: embed {model}, crops in memory", lambda m=model: memory_rate(check, m))
    for words in (("align", "photos", "-o", "crops"), ("synth-mask", "crops", "-o", "masked")):
        words = (*words, "--format", "jpg")
        check.step(f"rate: {words[0]}", lambda words=words: stage_rate(check, count, *words))
    embed = ("embed", "crops", "-o", "mfr.h5", "-m", "arcface" if check.tiny else "mfr")
    check.step("rate: embed", lambda: stage_rate(check, count, *embed))
    students = ("mobilefacenet",) if check.tiny else ("edgeface", "mobilefacenet", "iresnet18")
    for kind, more in (("", ()), (" compiled", ("fit.compile=true",)))[: 1 if check.tiny else 2]:
        for student in students:
            words = (f"{student}{kind}", f"model.student={student}", *more)
            check.step(f"rate: training {words[0]}", lambda w=words: train_rate(check, *w))


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
    for command, peak in check.peaks.items():
        print(f"peak of {command}: {peak['memory']} MiB, {peak['card']} MiB of the card")
    document = {"device": card, "torch": torch.__version__, "peak_mib": check.peaks}
    options.json.write_text(json.dumps(document | {"steps": check.rows}, indent=2) + "\n")
    print(f"-> {options.json}")
    sys.exit(any(row["ok"] is False for row in check.rows))


if __name__ == "__main__":
    main()
