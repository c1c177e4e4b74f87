"""Shards become what one run would have written, byte for byte."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mfrkit.cluster.parts import parts_of
from mfrkit.cluster.tasks import ShardJob, perform
from mfrkit.config import RunOptions, Shard
from mfrkit.console import Console
from mfrkit.errors import InputError, MfrError
from mfrkit.io.manifest import manifest_path
from mfrkit.stages.embed import EmbedOptions, embed
from mfrkit.stages.options import SynthMaskOptions
from mfrkit.stages.synth_mask import synth_mask

RUN = RunOptions(workers=1, device="cpu")
QUIET = Console(-1, passes_records=False)


def run_shards(stage, options, count, only=None):
    """Run shards as a cluster would, here; return what joins them."""
    parts = parts_of(stage.__name__.replace("_", "-"), options)
    parts.begin()
    for index in only or range(1, count + 1):
        own = parts.options_of(Shard(index, count))
        own = replace(own, run=replace(own.run, resume=True, force=False, max_skipped=1.0))
        perform(ShardJob(stage, own, str(Path.cwd()), ("mfrkit",)), lambda done, skipped: None)
    return parts


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def damaged_crops(noise_crops):
    """Twelve crops and two files that are none, in the midst."""
    (noise_crops / "p0" / "p0_1b.png").write_bytes(b"no picture")
    (noise_crops / "p2" / "p2_0b.png").write_bytes(b"")
    return noise_crops


@pytest.mark.parametrize("variants", [1, 2])
@pytest.mark.parametrize("count", [4, 20])  # more shards than inputs: some are empty
def test_a_folder_of_shards_becomes_that_of_one_run(tmp_path, damaged_crops, variants, count):
    options = SynthMaskOptions(
        str(damaged_crops), tmp_path / "whole", variants=variants, region="none", run=RUN
    )
    tally = synth_mask(options, QUIET)
    parts = run_shards(synth_mask, replace(options, output=tmp_path / "joined"), count)
    assert not parts.is_finished()
    assert parts.join(count) == tally
    assert tally.skipped == 2
    assert contents(tmp_path / "joined") == contents(tmp_path / "whole")
    assert parts.is_finished()


def test_embeddings_of_shards_become_those_of_one_run(tmp_path, damaged_crops):
    options = EmbedOptions(str(damaged_crops), tmp_path / "whole.h5", "arcface", run=RUN)
    tally = embed(options, QUIET)
    parts = run_shards(embed, replace(options, output=tmp_path / "joined.h5"), 3)
    joined = parts.join(3)
    assert (joined.written, joined.reasons) == (tally.written, tally.reasons) == (12, tally.reasons)
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "joined.h5") as file:
        names = []
        whole.visit(names.append)
        for name in names:
            if isinstance(whole[name], h5py.Dataset):
                assert np.array_equal(whole[name][:], file[name][:]), name
        assert {*whole.attrs} == {*file.attrs}
        for name in {*whole.attrs} - {"created"}:
            assert np.array_equal(whole.attrs[name], file.attrs[name]), name
    assert sorted(p.name for p in tmp_path.glob("*joined*")) == ["joined.h5"]


def test_shards_of_different_inputs_are_not_joined(tmp_path, noise_crops):
    options = SynthMaskOptions(str(noise_crops), tmp_path / "out", region="none", run=RUN)
    parts = run_shards(synth_mask, options, 2)
    first = manifest_path(tmp_path / "out", "-1-of-2")
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(MfrError, match="made of different inputs"):
        parts.join(2)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    assert manifest_path(tmp_path / "out", "-2-of-2").exists()


def test_what_was_begun_is_continued_only_if_asked(tmp_path, noise_crops):
    masks = SynthMaskOptions(str(noise_crops), tmp_path / "out", region="none", run=RUN)
    vectors = EmbedOptions(str(noise_crops), tmp_path / "out.h5", "arcface", run=RUN)
    for stage, options in ((synth_mask, masks), (embed, vectors)):
        run_shards(stage, options, 3, only=[2])
        command = stage.__name__.replace("_", "-")
        with pytest.raises(InputError, match=r"unfinished run; --resume continues"):
            parts_of(command, options).begin()
        resumed = replace(options, run=replace(RUN, resume=True))
        assert parts_of(command, resumed).begin() == 3
        forced = replace(options, run=replace(RUN, force=True))
        assert parts_of(command, forced).begin() is None
        assert parts_of(command, resumed).begin() is None


def test_other_options_and_other_ways_of_running_are_refused(tmp_path, noise_crops):
    options = SynthMaskOptions(str(noise_crops), tmp_path / "out", region="none", run=RUN)
    run_shards(synth_mask, options, 3, only=[2])
    resumed = replace(options, seed=1, run=replace(RUN, resume=True))
    with pytest.raises(InputError, match="was made with seed=0"):
        parts_of("synth-mask", resumed).begin()
    run_shards(synth_mask, replace(options, run=replace(RUN, force=True)), 2, only=[1])
    manifest_path(tmp_path / "out", "-3-of-4").touch()
    with pytest.raises(InputError, match=r"different counts: \[2, 4\]"):
        parts_of("synth-mask", replace(options, run=replace(RUN, resume=True))).begin()
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / ".manifest.jsonl.part").touch()
    with pytest.raises(InputError, match="begun without --cluster"):
        parts_of(
            "synth-mask", replace(options, output=whole, run=replace(RUN, resume=True))
        ).begin()
