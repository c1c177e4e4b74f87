"""Masks drawn in processes: the same files as in threads, the same refusals."""

import shutil

import pytest
import torch

from mfrkit.config import RunOptions
from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.io.source import open_source
from mfrkit.stages import synth_mask as mask_worker
from mfrkit.stages.options import SynthMaskOptions
from mfrkit.stages.synth_mask import synth_mask

QUIET = Console(-1)


@pytest.fixture
def used(monkeypatch):
    """Which way batches were drawn; processes are worth their start from 8 inputs on."""
    ways = []
    monkeypatch.setattr(mask_worker, "MANY", 8)

    def watch(way):
        real = getattr(mask_worker.MaskWorker, way)

        def spy(self, batches):
            ways.append(way)
            return real(self, batches)

        monkeypatch.setattr(mask_worker.MaskWorker, way, spy)

    watch("_in_processes")
    watch("_in_threads")
    return ways


@pytest.fixture
def mixed(shared_noise_crops, photos, tmp_path):
    """Twelve crops and five photos."""
    folder = tmp_path / "mixed"
    shutil.copytree(shared_noise_crops, folder / "crops")
    shutil.copytree(photos, folder / "photos", ignore=shutil.ignore_patterns("*.md"))
    return folder


def options(source, output, workers, **changes):
    run = RunOptions(workers=workers, batch_size=3)
    return SynthMaskOptions(str(source), output, run=run, **changes)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_processes_write_what_threads_write(mixed, tmp_path, used):
    for workers, name in ((2, "processes"), (1, "threads")):
        preview = tmp_path / f"{name}.png"
        tally = synth_mask(
            options(mixed, tmp_path / name, workers, variants=2, preview=preview, region="both"),
            QUIET,
        )
        assert tally.written == 34
    assert used == ["_in_processes", "_in_threads"]
    drawn = contents(tmp_path / "processes")
    assert len(drawn) > 3 * 34
    assert drawn == contents(tmp_path / "threads")
    sheets = [(tmp_path / f"{name}.png").read_bytes() for name in ("processes", "threads")]
    assert sheets[0] == sheets[1]


def test_masks_of_a_manifest_are_drawn_again_in_processes(shared_noise_crops, tmp_path, used):
    synth_mask(options(shared_noise_crops, tmp_path / "first", 1, seed=5), QUIET)
    synth_mask(options(shared_noise_crops, tmp_path / "again", 2, specs=tmp_path / "first"), QUIET)
    assert used == ["_in_threads", "_in_processes"]
    first, again = contents(tmp_path / "first"), contents(tmp_path / "again")
    pictures = [name for name in first if name.endswith(".png")]
    assert len(pictures) == 24
    assert all(first[name] == again[name] for name in pictures)


def test_what_a_process_cannot_use_is_refused_in_the_usual_words(
    shared_noise_crops, tmp_path, used
):
    with pytest.raises(InputError, match="no such manifest"):
        synth_mask(options(shared_noise_crops, tmp_path / "out", 2, specs=tmp_path / "none"), QUIET)
    assert used == ["_in_processes"]


def test_few_inputs_a_pipeline_and_one_worker_stay_in_this_process(
    shared_noise_crops, used, monkeypatch
):
    items = list(open_source(str(shared_noise_crops)))

    def ways(source, workers, count):
        used.clear()
        worker = mask_worker.MaskWorker(options(source, shared_noise_crops, workers))
        worker._in_processes = lambda _: used.append("_in_processes") or []
        worker._in_threads = lambda _: used.append("_in_threads") or []
        list(worker(items[:count]))
        return list(used)

    assert ways("crops", 2, 8) == ["_in_processes"]
    assert ways("crops", 2, 7) == ["_in_threads"]
    assert ways("crops", 1, 12) == ["_in_threads"]
    assert ways("-", 2, 12) == ["_in_threads"]

    def no_semaphores():
        raise FileNotFoundError("/dev/shm")

    monkeypatch.setattr("multiprocessing.Lock", no_semaphores)
    assert ways("crops", 2, 12) == ["_in_threads"]


def test_a_faster_device_draws_in_this_process(shared_noise_crops, tmp_path, used, monkeypatch):
    on_processor = mask_worker.make_drawer(options(shared_noise_crops, tmp_path, 1))
    monkeypatch.setattr("mfrkit.models.device.resolve_device", lambda _: torch.device("meta"))
    monkeypatch.setattr(mask_worker, "make_drawer", lambda _: on_processor)
    worker = mask_worker.MaskWorker(options(shared_noise_crops, tmp_path, 2))
    records = list(worker(open_source(str(shared_noise_crops))))
    assert len(records) == 12
    assert used == ["_in_processes", "_in_threads"]
