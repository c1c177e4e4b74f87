"""Compare all-pairs counting with a bare matrix product, and its memory at two sizes.

    python examples/bench_all_pairs.py [--dim 192] [--threads 1] [--faces 16384] [--rounds 7]
    python examples/bench_all_pairs.py --memory 3163 31623

Both sides compare two different sets of the same generated vectors, interleaved in one process:
the product in slabs of 4096 x 4096, by BLAS with so many threads; `mfrkit` from HDF5 files to
histograms. Trust the shares, not the comparisons per second: the machine's load changes. With
`--memory`, all pairs within one file each are counted in a process of its own (n faces make
n(n - 1)/2 comparisons), and its peak memory is printed.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mfrkit.console import Console
from mfrkit.evaluation.all_pairs import count_pairs
from mfrkit.io.embeddings import Rows, write_embeddings

SLAB = 4096
RUNNER = """
import resource, sys
from mfrkit.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def draw(count: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(path: Path, count: int, dim: int, seed: int) -> Path:
    """Write faces, four to a person."""

    def blocks():
        for start in range(0, count, SLAB):
            size = min(SLAB, count - start)
            numbers = range(start, start + size)
            yield Rows(
                embeddings=draw(size, dim, seed + start),
                keys=[f"{n // 4}/{seed}_{n}" for n in numbers],
                identities=[str(n // 4) for n in numbers],
                norms=np.ones(size, np.float32),
                masked=np.zeros(size, np.int8),
                mask_type=[""] * size,
                positions=np.arange(start, start + size),
                skipped_keys=[],
                skipped_reasons=[],
                skipped_positions=np.empty(0, np.int64),
            )

    write_embeddings(path, blocks(), dim, {})
    return path


def timed(run: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def throughput(folder: Path, dim: int, faces: int, threads: int, rounds: int) -> None:
    paths = (write(folder / "a.h5", faces, dim, 1), write(folder / "b.h5", faces, dim, 2))
    a, b = draw(faces, dim, 1), draw(faces, dim, 2)
    out = np.empty((SLAB, SLAB), np.float32)

    def bare() -> None:
        for row in range(0, faces, SLAB):
            for column in range(0, faces, SLAB):
                part = out[: min(SLAB, faces - row), : min(SLAB, faces - column)]
                np.matmul(a[row : row + SLAB], b[column : column + SLAB].T, out=part)

    def counted() -> None:
        count_pairs(paths, "error", Console(-1))

    times: dict[str, list[tuple[float, float]]] = {"product": [], "mfrkit": []}
    with threadpool_limits(threads, user_api="blas"):
        for _ in range(rounds):
            times["product"].append(timed(bare))
            times["mfrkit"].append(timed(counted))
    print("\tcomparisons/s\tns of processor time each")
    for name, pairs in times.items():
        wall, processor = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name}\t{faces**2 / wall:.3g}\t{1e9 * processor / faces**2:.2f}")
    for place, clock in enumerate(("wall", "processor")):
        shares = [x[place] / y[place] for x, y in zip(*times.values(), strict=True)]
        print(f"share of the product's throughput, {clock} time: ", end="")
        print(f"median {statistics.median(shares):.2f}, {min(shares):.2f} to {max(shares):.2f}")


def memory(folder: Path, dim: int, sizes: list[int]) -> None:
    print("faces\tcomparisons\tpeak MB\tseconds")
    for count in sizes:
        path = write(folder / f"{count}.h5", count, dim, 3)
        command = [sys.executable, "-c", RUNNER, "eval", "--all-pairs", path, "-q"]
        started = time.perf_counter()
        run = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
        )
        seconds = time.perf_counter() - started
        peak = int(run.stderr.split()[-1]) / 1024  # kibibytes on Linux
        print(f"{count}\t{count * (count - 1) // 2:.3g}\t{peak:.0f}\t{seconds:.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--faces", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", type=int, nargs="+", metavar="FACES")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.memory:
            memory(Path(scratch), given.dim, given.memory)
        else:
            throughput(Path(scratch), given.dim, given.faces, given.threads, given.rounds)


if __name__ == "__main__":
    main()
