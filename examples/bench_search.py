"""Time and memory of a search among many made-up people, exact and through faiss.

Usage: python examples/bench_search.py [PEOPLE [DIM]]

A probe is a person's template with noise, at a cosine of 0.45: what a masked photo has to the
unmasked ones of its person. Seconds are of the wall and, in brackets, of the processor.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mfrkit.recognition.gallery import Approximate, Exact, pooled

PROBES, COSINE, BLOCK = 256, 0.45, 65536


def timed(work: Callable) -> tuple:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main(people: int, dim: int) -> None:
    random = np.random.default_rng(0)
    known = np.empty((people, dim), np.float32)
    for start in range(0, people, BLOCK):
        part = known[start : start + BLOCK]
        part[:] = unit(random.standard_normal(part.shape, np.float32))
    own = random.integers(0, people, PROBES)
    noise = unit(random.standard_normal((PROBES, dim), np.float32))
    probes = unit(known[own] + noise * np.float32((COSINE**-2 - 1) ** 0.5))
    names = [f"person {n}" for n in range(people)]
    masked = np.zeros(people, np.int8)
    gallery, wall, cpu = timed(lambda: pooled(names, names, known, masked, {}))
    print(f"enrol: {wall:.1f} s ({cpu:.1f}), vectors {known.nbytes / 2**20:.0f} MiB")
    report("exact", Exact(gallery.templates), probes, own)
    with TemporaryDirectory() as folder:
        try:
            index, wall, cpu = timed(lambda: Approximate(gallery.templates, Path(folder) / "g"))
        except Exception as error:  # noqa: BLE001
            sys.exit(str(error))
        size = (Path(folder) / "g").stat().st_size / 2**20
        print(f"faiss: built in {wall:.1f} s ({cpu:.1f}), file {size:.0f} MiB")
        report("faiss", index, probes, own)


def report(name: str, finder: Callable, probes: np.ndarray, own: np.ndarray) -> None:
    for count in (1, 64):
        some = probes[:count]
        _, wall, cpu = min((timed(partial(finder, some, 2)) for _ in range(3)), key=lambda t: t[1])
        print(f"{name}, {count} at a time: {1e3 * wall / count:.2f} ms a probe", end="")
        print(f" ({1e3 * cpu / count:.2f})")
    hits = np.mean(finder(probes, 2).places[:, 0] == own)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{name}: {hits:.1%} of {len(own)} probes find their person; peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("people", type=int, nargs="?", default=1_000_000)
    parser.add_argument("dim", type=int, nargs="?", default=192)
    main(**vars(parser.parse_args()))
