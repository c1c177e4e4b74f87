"""Compare ways to compute the same embeddings, interleaved in one process.

    python examples/bench_embed.py [--model arcface] [--faces 128] [--rounds 5]

Every contender gets the same generated 8-bit crops and returns the same vectors (checked), without
flip averaging. The machine's load changes from second to second, so trust the ratios, not the
faces per second; with one thread it is the processor's time that counts, without what other
programs took. The share is of the machine's matrix product, by the network's own products. ONNX
Runtime comes with the extra `onnx`.
"""

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mfrkit.models.engine import EmbedEngine
from mfrkit.models.loading import load_recogniser
from mfrkit.models.recogniser import Recogniser

Contender = Callable[[], np.ndarray]  # embeds all faces: (N, D)


class FromBytes(nn.Module):
    """The whole way from 8-bit crops to features, as one graph to export."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, crops: Tensor) -> Tensor:
        return self.recogniser.features(crops.permute(0, 3, 1, 2).float() / 255)


def eager(recogniser: Recogniser, crops: np.ndarray, batch: int) -> Contender:
    network, pixels = FromBytes(recogniser), torch.from_numpy(crops)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return torch.cat([network(piece) for piece in pixels.split(batch)]).numpy()

    return run


def engine(running: EmbedEngine, crops: np.ndarray, batch: int) -> Contender:
    pieces = [crops[at : at + batch] for at in range(0, len(crops), batch)]
    return lambda: np.concatenate([embedded.vectors for embedded in running.map(pieces)])


def onnx_graph(recogniser: Recogniser, crops: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "recogniser.onnx"
        warnings.simplefilter("ignore")  # this exporter is deprecated, yet needs no more packages
        torch.onnx.export(
            FromBytes(recogniser),
            (torch.from_numpy(crops[:2]),),
            str(path),
            input_names=["crops"],
            dynamic_axes={"crops": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        return path.read_bytes()


def onnx_runtime(
    graph: bytes, crops: np.ndarray, batch: int, threads: int, parallel: int
) -> Contender:
    """`parallel` batches at a time, each on `threads` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    pieces = [crops[at : at + batch] for at in range(0, len(crops), batch)]
    pool = ThreadPoolExecutor(parallel)

    def run() -> np.ndarray:
        return np.concatenate(
            list(pool.map(lambda piece: session.run(None, {"crops": piece})[0], pieces))
        )

    return run


def operations(recogniser: Recogniser, size: tuple[int, int]) -> int:
    """Multiplications and additions for one face."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        recogniser.features(torch.rand(1, 3, *size))
    return counter.get_total_flops()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(
    contenders: dict[str, Contender], rounds: int, faces: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Faces per second of each contender in each round, after one round to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = clock()
            run()
            rates[name].append(faces / (clock() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="arcface")
    parser.add_argument("--faces", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recogniser = load_recogniser(options.model)
    size = recogniser.card.input_size or (112, 112)
    crops = np.random.default_rng(0).integers(0, 256, (options.faces, *size, 3), np.uint8)
    ours = EmbedEngine(recogniser, flip=False, workers=options.threads)
    contenders = {f"torch eager, batch {b}": eager(recogniser, crops, b) for b in (8, 32)}
    contenders |= {f"mfrkit engine, batch {b}": engine(ours, crops, b) for b in (8, 32, 64)}
    try:
        import onnxruntime

        graph = onnx_graph(recogniser, crops)
        for batch in (1, 8, 32):
            shapes = {(options.threads, 1), (1, options.threads)}
            for threads, parallel in sorted(shapes, reverse=True):
                name = (
                    f"onnxruntime {onnxruntime.__version__}, {parallel} x {threads}, batch {batch}"
                )
                contenders[name] = onnx_runtime(graph, crops, batch, threads, parallel)
    except ImportError as error:
        print(f"without ONNX Runtime ({error}): pip install 'mfrkit[onnx]'", file=sys.stderr)

    expected = unit(next(iter(contenders.values()))())
    worst = {name: (unit(run()) * expected).sum(1).min() for name, run in contenders.items()}
    clock = time.process_time if options.threads == 1 else time.perf_counter
    side = 1024
    square = torch.rand(side, side)
    product: dict[str, Contender] = {"product": lambda: (square @ square).numpy()}
    rates = measure(contenders | product, options.rounds, options.faces, clock)
    most = statistics.median(rates.pop("product")) / options.faces * 2 * side**3
    print(f"{options.model}, {options.faces} faces, {options.threads} threads, median of rounds")
    for name, values in rates.items():
        apart = max(0.0, 1 - float(worst[name]))
        print(f"{name:40} {statistics.median(values):8.1f} faces/s   1 - cosine {apart:.0e}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for rival in ("torch eager", "onnxruntime"):
        theirs = [value for name, value in medians.items() if name.startswith(rival)]
        if theirs:
            best = max(value for name, value in medians.items() if name.startswith("mfrkit"))
            print(f"engine / best {rival}: {best / max(theirs):.2f}")
    print(f"engine: {best * operations(recogniser, size) / most:.0%} of the machine's product")
    ours.close()


if __name__ == "__main__":
    main()
