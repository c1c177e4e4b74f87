import json
import os
import shutil
from contextlib import suppress
from types import SimpleNamespace

import pytest

from mfrkit.config import RunOptions, Shard
from mfrkit.console import Console
from mfrkit.errors import InputError, PartialError
from mfrkit.io.files import write_whole
from mfrkit.io.manifest import Record
from mfrkit.io.source import open_source
from mfrkit.stages.run import run_stage
from mfrkit.stages.sink import RecordSink

RECIPE = {"size": 112}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abcdef":
        (folder / f"{name}.jpg").write_bytes(name.encode())
    return folder


def copier(output, *, stop_after=None, skip=(), twice=()):
    """A stage that copies files: enough to see what the driver does."""

    def process(items):
        for number, item in enumerate(items):
            if stop_after is not None and number == stop_after:
                raise KeyboardInterrupt
            if item.path is None or item.record.key in skip:
                yield [item.record.skipped("not wanted: this one")]
                continue
            faces = 2 if item.record.key in twice else 1
            records = []
            for face in range(faces):
                name = f"{item.record.key}{face or ''}.png"
                (output / name).write_bytes(item.path.read_bytes())
                records.append(Record(name[:-4], name, item.record.source))
            yield records

    return lambda: process


def options_of(photos, output, recipe=RECIPE, **run):
    given = {"run": RunOptions(), "recipe": lambda: recipe, "preview": None} | run
    return SimpleNamespace(source=str(photos), output=output, **given)


def run(photos, output, *, recipe=RECIPE, run_options=None, **behaviour):
    options = options_of(photos, output, recipe, run=run_options or RunOptions())
    return run_stage("copy", options, Console(-1), copier(output, **behaviour))


def keys(output, name="manifest.jsonl"):
    return [json.loads(line)["key"] for line in (output / name).read_text().splitlines()]


def test_every_input_is_in_the_manifest_and_on_stdout(photos, tmp_path, capsys):
    out = tmp_path / "out"
    tally = run(photos, out, skip=("c",))
    assert (tally.written, dict(tally.reasons)) == (5, {"not wanted": 1})
    assert keys(out) == list("abcdef")
    *printed, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert end == {"schema": 1, "status": "end"}
    assert [p["key"] for p in printed] == list("abcdef")
    assert {p["root"] for p in printed} == {str(out.resolve())}
    assert json.loads((out / "run.json").read_text())["options"] == RECIPE
    assert not list(out.glob(".*part"))


@pytest.mark.parametrize("stop", range(1, 6))
@pytest.mark.parametrize("twice", [(), ("b", "e")])
def test_an_interrupted_run_resumes_to_the_same_manifest(photos, tmp_path, stop, twice, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(photos, whole, twice=twice)
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, stop_after=stop, twice=twice)
    assert not (out / "manifest.jsonl").exists()
    capsys.readouterr()
    run(photos, out, run_options=RunOptions(resume=True), twice=twice)
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    printed = [json.loads(line)["key"] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert printed == keys(whole)  # a pipeline downstream sees the finished records too


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_a_part_file_cut_within_a_line_resumes(photos, tmp_path, cut):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(photos, whole, twice=("c",))
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, stop_after=4, twice=("c",))
    part = out / ".manifest.jsonl.part"
    part.write_bytes(part.read_bytes()[:-cut])
    run(photos, out, run_options=RunOptions(resume=True), twice=("c",))
    assert (out / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()


def test_a_finished_run_is_refused_resumed_and_replaced(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    with pytest.raises(InputError, match="finished run; --force"):
        run(photos, out)
    assert run(photos, out, run_options=RunOptions(resume=True)).written == 6
    (photos / "f.jpg").unlink()
    run(photos, out, run_options=RunOptions(force=True))
    assert keys(out) == list("abcde")
    assert not (out / "f.png").exists(), "--force must not leave results of inputs that are gone"


def test_an_unfinished_run_is_refused_without_a_word_from_the_user(photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, stop_after=2)
    with pytest.raises(InputError, match="--resume continues it"):
        run(photos, out)


def test_resume_refuses_other_options_and_other_inputs(photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, stop_after=3)
    with pytest.raises(InputError, match="size=112, not 224"):
        run(photos, out, recipe={"size": 224}, run_options=RunOptions(resume=True))
    (photos / "a.jpg").unlink()
    with pytest.raises(InputError, match="the inputs changed"):
        run(photos, out, run_options=RunOptions(resume=True))


def test_a_users_folder_is_not_written_into(photos, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        run(photos, mine)
    run(photos, mine, run_options=RunOptions(force=True))
    assert (mine / "thesis.tex").read_text() == "x"


def test_force_never_deletes_what_a_users_own_manifest_lists(photos, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "holiday.jpg").write_bytes(b"precious")
    record = {"path": "holiday.jpg", "source": "x", "status": "ok"}
    (mine / "manifest.jsonl").write_text(json.dumps(record) + "\n")
    run(photos, mine, run_options=RunOptions(force=True))
    assert (mine / "holiday.jpg").read_bytes() == b"precious"


def test_force_does_not_turn_one_commands_folder_into_anothers(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    sink = RecordSink(out, "align", {}, RunOptions(force=True), Console(-1))
    with pytest.raises(InputError, match="results of mfrkit copy"), sink:
        pass
    assert (out / "a.png").exists()


def test_results_of_another_command_are_refused(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    sink = RecordSink(out, "align", {}, RunOptions(resume=True), Console(-1))
    with pytest.raises(InputError, match="results of mfrkit copy"), sink:
        pass


def test_source_and_output_must_differ(photos):
    with pytest.raises(InputError, match="source too"):
        run(photos, photos)


def test_verbose_names_every_skipped_input(photos, tmp_path, capsys):
    for verbosity, wanted in ((0, False), (1, True)):
        out = tmp_path / str(verbosity)
        console = Console(verbosity)
        prepare = copier(out, skip=("c",))
        run_stage("copy", options_of(photos, out), console, prepare)
        assert ("skipped 'c.jpg': not wanted: this one" in capsys.readouterr().err) is wanted


def test_an_empty_folder_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures found"):
        run(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shards_share_a_folder_and_read_as_one(photos, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(photos, whole)
    for index in (3, 1, 2):
        run(photos, out, run_options=RunOptions(shard=Shard(index, 3)))
    assert keys(out, "manifest-1-of-3.jsonl") == ["a", "d"]
    joined = [item.record for item in open_source(str(out))]
    assert joined == [item.record for item in open_source(str(whole))]


@pytest.mark.parametrize(
    ("limit", "skip", "fails"),
    [
        (None, "abcde", False),
        (None, "abcdef", True),
        (0.2, "a", False),
        (0.1, "a", True),
        (0.0, "a", True),
        (1.0, "abcdef", False),
    ],
)
def test_too_many_skipped_inputs_fail_the_finished_run(photos, tmp_path, limit, skip, fails):
    out = tmp_path / "out"
    options = RunOptions(max_skipped=limit)
    if fails:
        with pytest.raises(PartialError):
            run(photos, out, run_options=options, skip=tuple(skip))
    else:
        run(photos, out, run_options=options, skip=tuple(skip))
    assert keys(out) == list("abcdef")


def test_dry_run_touches_nothing(photos, tmp_path, capsys):
    options = RunOptions(dry_run=True)
    out = tmp_path / "out"
    run_stage("copy", options_of(photos, out, run=options), Console(), copier(out))
    assert not out.exists()
    assert "would copy 6 inputs" in capsys.readouterr().err


@pytest.mark.parametrize("lost", [["c.png", "e.png"], ["b1.png"], ["b.png"], ["f.png"]])
def test_what_is_complete_is_seen_on_disk(photos, tmp_path, lost):
    out = tmp_path / "out"
    run(photos, out, twice="b")
    whole = (out / "manifest.jsonl").read_bytes()
    for name in lost:
        (out / name).unlink()
    tally = run(photos, out, run_options=RunOptions(resume=True), twice="b")
    assert tally.written == 7
    assert [(out / f"{key}.png").read_bytes() for key in "abcdef"] == [k.encode() for k in "abcdef"]
    assert (out / "b1.png").read_bytes() == b"b"
    assert (out / "manifest.jsonl").read_bytes() == whole


def test_a_result_without_content_is_made_again(photos, tmp_path):
    """As a power failure leaves them: the name is there, the bytes are not."""
    out = tmp_path / "out"
    run(photos, out)
    (out / "c.png").write_bytes(b"")
    run(photos, out, run_options=RunOptions(resume=True))
    assert (out / "c.png").read_bytes() == b"c"
    assert keys(out) == list("abcdef")


def test_a_link_in_place_of_the_manifest_to_be_is_not_followed(photos, tmp_path):
    out, precious = tmp_path / "out", tmp_path / "precious"
    out.mkdir()
    precious.write_bytes(b"mine")
    (out / ".manifest.jsonl.part").symlink_to(precious)
    (out / ".lock").symlink_to(precious)
    run(photos, out, run_options=RunOptions(force=True))
    assert precious.read_bytes() == b"mine"
    assert keys(out) == list("abcdef")


def test_resume_goes_on_with_inputs_that_were_added_and_refuses_fewer(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    (photos / "g.jpg").write_bytes(b"g")
    run(photos, out, run_options=RunOptions(resume=True))
    assert keys(out) == list("abcdefg")
    (photos / "g.jpg").unlink()
    with pytest.raises(InputError, match="expected 'g.jpg', found 'the end'"):
        run(photos, out, run_options=RunOptions(resume=True))


def test_resume_refuses_other_files_of_the_same_names(photos, tmp_path):
    out, others = tmp_path / "out", tmp_path / "others"
    shutil.copytree(photos, others)
    (others / "a.jpg").write_bytes(b"another")
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, stop_after=3)
    with pytest.raises(InputError, match="other files of these names"):
        run(others, out, run_options=RunOptions(resume=True))
    moved = photos.rename(tmp_path / "moved")
    run(moved, out, run_options=RunOptions(resume=True))
    assert keys(out) == list("abcdef")


@pytest.mark.parametrize("stop", range(12))
def test_force_cut_short_anywhere_never_leaves_the_old_result_for_the_new(
    photos, tmp_path, monkeypatch, stop
):
    out = tmp_path / "out"
    run(photos, out)
    (photos / "f.jpg").unlink()
    (photos / "a.jpg").write_bytes(b"new")
    steps = iter(range(100))

    def stopping(call):
        def wrapped(*arguments, **options):
            if next(steps) == stop:
                raise KeyboardInterrupt
            return call(*arguments, **options)

        return wrapped

    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, stopping(getattr(os, name)))
    with suppress(KeyboardInterrupt):
        run(photos, out, run_options=RunOptions(force=True))
    monkeypatch.undo()
    run(photos, out, run_options=RunOptions(resume=stop > 0, force=stop == 0))
    assert keys(out) == list("abcde")
    assert sorted(path.name for path in out.glob("*.png")) == [f"{key}.png" for key in "abcde"]
    assert (out / "a.png").read_bytes() == b"new"
    assert not list(out.glob(".*"))


def test_an_input_the_stage_fails_on_is_a_skipped_record(photos, tmp_path):
    out = tmp_path / "out"

    def process(items):
        for item in items:
            if item.record.key in "be":
                raise RuntimeError(f"cannot {item.record.key}\nat all")
            write_whole(out / f"{item.record.key}{'x' * 252 * (item.record.key == 'c')}.png", b"")
            yield [Record(item.record.key, f"{item.record.key}.png", item.record.source)]

    tally = run_stage("x", options_of(photos, out), Console(-1), lambda: process)
    records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert {r["key"]: r["reason"] for r in records if r["status"] == "skipped"} == {
        "b": "failed: RuntimeError: cannot b",
        "c": "not written: File name too long",
        "e": "failed: RuntimeError: cannot e",
    }
    assert (tally.written, tally.total) == (3, 6)


def test_a_second_run_into_a_folder_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    with RecordSink(out, "copy", RECIPE, RunOptions(), Console(-1)):
        for options in (RunOptions(), RunOptions(resume=True), RunOptions(force=True)):
            with pytest.raises(InputError, match=f"out: is being written by process {os.getpid()}"):
                run(photos, out, run_options=options)
    run(photos, out)
    assert not list(out.glob(".*"))


def test_shards_run_side_by_side_and_keep_a_whole_run_out(photos, tmp_path):
    out = tmp_path / "out"
    with RecordSink(out, "copy", RECIPE, RunOptions(shard=Shard(1, 2)), Console(-1)):
        run(photos, out, run_options=RunOptions(shard=Shard(2, 2)))
        for shard in (Shard(1, 2), Shard()):
            with pytest.raises(InputError, match="is being written by"):
                run(photos, out, run_options=RunOptions(shard=shard, force=True))


@pytest.mark.parametrize(
    "record",
    [
        {"path": "../kept.txt"},
        {"path": "a.png", "mask": {"region": "../kept.txt"}},
        {"path": "a.png", "mask": {"region_exact": "{outside}/kept.txt"}},
        {"path": "a.png", "inpaint": {"region": "link/kept.txt"}},
    ],
)
def test_force_deletes_nothing_outside_its_folder(photos, tmp_path, record):
    out, kept = tmp_path / "out", tmp_path / "kept.txt"
    run(photos, out)
    kept.write_text("precious")
    (out / "link").symlink_to(tmp_path)
    line = json.dumps({"key": "a", **record}).replace("{outside}", str(tmp_path))
    (out / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match="refused"):
        run(photos, out, run_options=RunOptions(force=True))
    assert kept.read_text() == "precious"
    assert (out / "manifest.jsonl").exists()
