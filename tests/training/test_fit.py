"""The loop: schedules, exact continuation, stopping, averages, precision."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mfrkit.console import Console
from mfrkit.errors import InputError, MfrError, Terminated, WeightsError
from mfrkit.masks.options import MaskOptions
from mfrkit.methods.base import FaceBatch, Task
from mfrkit.methods.views import PairedViews, ViewOptions
from mfrkit.training.data import Batches, open_train_set
from mfrkit.training.fit import FitParts, fit
from mfrkit.training.run import paired_views
from mfrkit.training.settings import FitOptions, lr_factor
from mfrkit.training.state import checkpoints, create_state, load_checkpoint
from mfrkit.training.world import World
from tests.waits import Waits

OPTIONS = FitOptions(steps=7, batch_size=4, lr=1e-2, warmup=2, log_every=2, save_every=2)
QUIET = Console(-1)


class Toy(Task):
    """Learn the mean colour; batch norm and dropout make modes and chance count."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.student = nn.Sequential(
            nn.AvgPool2d(16), nn.Flatten(), nn.BatchNorm1d(147), nn.Dropout(0.2), nn.Linear(147, 3)
        )
        self.stop_at = None
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        if self.calls == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM if self.kind == "term" else signal.SIGINT)
        loss = F.mse_loss(self.student(batch.masked), batch.clean.mean((2, 3)))
        if self.calls == getattr(self, "poison", None):
            loss = loss * float("nan")
        return {"loss": loss}


class TwoSteps(Toy):
    """A critic first, then the student, who sees the critic's update."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Linear(3, 1, bias=False)
        nn.init.ones_(self.critic.weight)
        self.seen = []

    def steps(self, batch):
        yield "critic", {"loss": self.critic(batch.clean.mean((2, 3))).mean()}
        self.seen.append(self.critic.weight.detach().clone())
        yield "main", self(batch)

    def groups(self):
        return {"main": [*self.student.parameters()], "critic": [*self.critic.parameters()]}


class ByView(Toy):
    """Tells of masked and unmasked faces apart."""

    def forward(self, batch):
        faces = self.student(batch.masked)
        return super().forward(batch) | batch.by_view(faces.square().mean(1))


@pytest.fixture
def parts(noise_crops, tmp_path):
    def make(task, name="run", **changes):
        torch.manual_seed(0)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        batches = Batches(
            open_train_set([str(noise_crops)]),
            size=(112, 112),
            views=ViewOptions(gain=0.1, rotation=2),
            masks=MaskOptions(),
            seed=0,
            batch_size=4,
        )
        views = PairedViews()

        def show(raw):
            return views(raw.crops, raw.points, raw.label, raw.index, raw.draws)

        whole = FitParts(
            task=task,
            batches=batches,
            show=show,
            folder=folder,
            device=torch.device("cpu"),
            workers=1,
        )
        return replace(whole, **changes)

    return make


def run(parts, options=OPTIONS, *, resume=False):
    return fit(parts, options, QUIET, World(), resume=resume)


def test_a_step_fetches_its_losses_in_one_go_and_waits_for_nothing_else(parts):
    made = parts(ByView())
    with Waits() as waits:
        run(made, replace(OPTIONS, steps=2, log_every=1))
    assert waits.lines == []
    for line in (made.folder / "history.jsonl").read_text().splitlines():
        told = json.loads(line)
        assert told["masked"] > 0
        assert "unmasked" not in told, "the mean of no faces"


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def history(parts):
    lines = (parts.folder / "history.jsonl").read_text().splitlines()
    timing = {"faces_per_second", "data_wait"}
    return [{k: v for k, v in json.loads(line).items() if k not in timing} for line in lines]


def test_a_continued_run_aligns_faces_by_their_meshes_as_a_whole_one(
    parts, wide_crops, noise_crops
):
    """Views that the mesh aligns are the same whatever was computed before."""
    views = ViewOptions(gain=0.1, align="mesh")
    batches = Batches(
        open_train_set([str(wide_crops), str(noise_crops)]),
        size=(112, 112),
        views=views,
        masks=MaskOptions(),
        seed=0,
        batch_size=6,
    )
    show = paired_views(views, torch.device("cpu"))
    whole = parts(Toy(), "whole", batches=batches, show=show)
    expected = run(whole)
    task = Toy()
    task.stop_at, task.kind = 3, "int"
    with pytest.raises(KeyboardInterrupt):
        run(parts(task, "halves", batches=batches, show=show))
    again = paired_views(views, torch.device("cpu"))
    found = run(parts(Toy(), "halves", batches=batches, show=again), resume=True)
    assert same(found.exported(), expected.exported())


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("kind", ["int", "term"])
@pytest.mark.parametrize("stop_at", [1, 4, 5])
def test_a_stopped_and_continued_run_ends_like_a_whole_one(parts, optimiser, kind, stop_at):
    options = replace(OPTIONS, optimiser=optimiser, ema=0.9, pull=3.0)
    whole = parts(Toy(), "whole")
    expected = run(whole, options)
    task = Toy()
    task.stop_at, task.kind = stop_at, kind
    halves = parts(task, "halves")
    with pytest.raises(KeyboardInterrupt if kind == "int" else Terminated):
        run(halves, options)
    assert checkpoints(halves.folder)[-1].name == f"checkpoint-{stop_at:08d}.pt"
    torch.manual_seed(99)
    again = replace(halves, task=Toy())
    state = run(again, options, resume=True)
    assert state.step == 7
    assert same(state.task.state_dict(), expected.task.state_dict())
    assert same(state.exported(), expected.exported())
    assert history(again)[-1] == history(whole)[-1]
    assert [line["step"] for line in history(again)] == [2, 4, 6, 7]


def test_the_pull_by_hand(parts):
    """One step of plain descent, then a quarter of the way back: three quarters of the step."""
    options = replace(
        OPTIONS, steps=1, warmup=0, optimiser="sgd", momentum=0.0, weight_decay=0.0, lr=0.5
    )
    start = Toy().state_dict()
    free, pulled = (
        run(parts(Toy(), name), replace(options, pull=pull)).task.state_dict()
        for name, pull in (("free", 0.0), ("pulled", 0.5))
    )
    moved = {name: free[name] - start[name] for name, _ in Toy().named_parameters()}
    assert all(change.abs().max() > 0 for change in moved.values())
    for name, change in moved.items():
        torch.testing.assert_close(pulled[name], start[name] + 0.75 * change)
    assert torch.equal(pulled["student.2.running_mean"], free["student.2.running_mean"])


def test_a_pull_that_reaches_the_start_stays_there(parts):
    state = run(parts(Toy()), replace(OPTIONS, pull=1e9))
    start = Toy().state_dict()
    assert all(torch.equal(p, start[name]) for name, p in state.task.named_parameters())


def test_a_continued_run_is_pulled_to_where_it_began(parts):
    made = parts(Toy())
    run(made, replace(OPTIONS, pull=3.0))
    elsewhere = Toy()
    torch.nn.init.zeros_(elsewhere.student[-1].weight)
    state = create_state(elsewhere, replace(OPTIONS, pull=3.0), torch.device("cpu"))
    load_checkpoint(checkpoints(made.folder)[-1], state)
    assert torch.equal(state.start.weights["4.weight"], Toy().student[-1].weight)


def test_exact_continuation_can_fail(parts):
    """The comparison above notices other views of the same faces."""
    expected = run(parts(Toy(), "a"))
    changed = parts(Toy(), "b")
    show = changed.show
    changed = replace(changed, show=lambda raw: show(replace(raw, draws=raw.draws[::-1])))
    assert not same(run(changed).task.state_dict(), expected.task.state_dict())


def test_a_loss_that_is_not_finite_stops_with_its_step(parts):
    task = Toy()
    task.poison = 6
    made = parts(task)
    with pytest.raises(
        MfrError, match="step 6: the loss is nan; the last good state is .*00000004"
    ):
        run(made)
    state = create_state(Toy(), OPTIONS, torch.device("cpu"))
    load_checkpoint(checkpoints(made.folder)[-1], state)
    assert state.step == 4
    assert all(t.isfinite().all() for t in state.task.state_dict().values())


def test_old_checkpoints_go_and_half_written_ones_do_not_count(parts):
    made = parts(Toy())
    run(made)
    assert [path.name for path in checkpoints(made.folder)] == [
        "checkpoint-00000006.pt",
        "checkpoint-00000007.pt",
    ]
    (made.folder / ".checkpoint-00000009.pt.part").write_bytes(b"cut")
    assert len(checkpoints(made.folder)) == 2
    checkpoints(made.folder)[-1].write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"00000007.pt: damaged"):
        run(made, resume=True)


def test_another_runs_checkpoint_is_refused(parts):
    made = parts(Toy())
    run(made)
    with pytest.raises(WeightsError, match="does not fit this run"):
        run(replace(made, task=TwoSteps()), resume=True)


def test_steps_alternate_and_see_each_other(parts):
    task = TwoSteps()
    run(parts(task))
    assert len(task.seen) == 7
    assert not torch.equal(task.seen[0], torch.ones(1, 3))
    assert {"loss", "critic_loss"} <= history(parts(task))[0].keys()


def test_checks_keep_the_best_and_leave_the_student_alone(parts):
    errors = iter([0.3, 0.1, 0.2])
    kept = []
    task = Toy()

    def check(weights):
        assert task.training
        assert same(weights, task.student.state_dict())
        return {"check_error": next(errors)}

    made = parts(task, check=check, keep=lambda weights, figures: kept.append(figures))
    state = run(made, replace(OPTIONS, check_every=3))
    assert kept == [{"check_error": 0.3}, {"check_error": 0.1}]
    assert state.best == 0.1
    assert same(state.task.state_dict(), run(parts(Toy(), "plain")).task.state_dict())


def test_the_average_is_exponential_and_soon_forgets_where_it_began(parts):
    seen = []

    class Watched(Toy):
        def forward(self, batch):
            seen.append(self.student[-1].weight.detach().clone())
            return super().forward(batch)

    state = run(parts(Watched()), replace(OPTIONS, ema=0.5))
    seen.append(state.task.student[-1].weight.detach().clone())
    average = seen[0]
    for step, weights in enumerate(seen[1:], 1):
        kept = min(0.5, step / (step + 9))
        average = kept * average + (1 - kept) * weights
    torch.testing.assert_close(state.exported()["4.weight"], average)


def test_the_students_gradient_is_limited(parts):
    class Steep(Toy):
        def forward(self, batch):
            return {"loss": 1e6 * super().forward(batch)["loss"]}

    options = replace(OPTIONS, steps=1, warmup=0, optimiser="sgd", lr=1.0, clip=0.5, weight_decay=0)
    before = Toy().student.state_dict()
    after = run(parts(Steep()), options).task.student.state_dict()
    moved = math.sqrt(
        sum((after[n] - before[n]).square().sum() for n, _ in Toy().student.named_parameters())
    )
    assert moved == pytest.approx(0.5, rel=1e-4)


def test_bf16_stays_near_full_precision(parts):
    full, half = (
        run(parts(Toy(), precision), replace(OPTIONS, precision=precision))
        for precision in ("fp32", "bf16")
    )
    a, b = (state.task.student[-1].weight for state in (full, half))
    assert not torch.equal(a, b)
    torch.testing.assert_close(a, b, atol=0.02, rtol=0.1)


def test_step_schedule_warm_up_and_cosine():
    step = FitOptions(schedule="step", milestones=(1, 2), warmup=0)
    factor = partial(lr_factor, total=30, steps_per_epoch=10)
    assert [factor(s, options=step) for s in (0, 9, 10, 19, 20)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
    cosine = FitOptions(warmup=10, final=0.1)
    assert [factor(s, options=cosine) for s in (0, 9, 10, 20, 30)] == pytest.approx(
        [0.1, 1, 1, 0.55, 0.1]
    )
    assert factor(25, options=FitOptions(schedule="constant", warmup=0)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"lr": float("nan")},
        {"epochs": 0.0},
        {"ema": 1.0},
        {"pull": -1.0},
        {"clip": -1.0},
    ],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(InputError, match="fit"):
        FitOptions(**wrong)


def test_face_batch_length():
    faces, label = torch.rand(3, 3, 8, 8), torch.zeros(3)
    assert len(FaceBatch(faces, faces, faces[:, :1], label, label)) == 3


@pytest.mark.parametrize("kilobytes", [0, 1, 64])
def test_a_full_disk_at_a_checkpoint_is_called_so(tmp_path, kilobytes):
    """In a process of its own, whose files are limited."""
    code = f"""
import resource, signal, sys, torch
from pathlib import Path
from mfrkit.training.state import save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes} * 1024,) * 2)
try:
    save_checkpoint(Path({str(tmp_path)!r}), 3, {{"a": torch.zeros(100_000)}}, 2)
except OSError as error:
    sys.exit(str(error))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.startswith("[Errno 27] File too large")
    assert "checkpoint-00000003.pt" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_goes_on_to_more_steps(parts, capsys):
    """Its rate is that of the longer schedule; what was done is neither lost nor done again."""
    made = parts(Toy())
    run(made)
    state = fit(
        replace(made, task=Toy()), replace(OPTIONS, steps=11), Console(), World(), resume=True
    )
    assert state.step == 11
    said = capsys.readouterr().err
    assert "7 of 11 steps are done" in said
    factors = [lr_factor(7, total, 3, OPTIONS) for total in (7, 11)]
    before, now = (f"{1e-2 * factor:.2g}" for factor in factors)
    assert "begun for 7 steps, goes on to 11" in said
    assert f"the rate goes from {before} to {now}" in said
    lines = history(made)
    assert [line["step"] for line in lines] == [2, 4, 6, 7, 8, 10, 11]
    assert lines[-1]["lr"] == pytest.approx(1e-2 * lr_factor(10, 11, 3, OPTIONS), rel=1e-5)


def test_fewer_steps_than_are_done_are_refused(parts):
    made = parts(Toy())
    run(made)
    with pytest.raises(InputError, match="7 steps are done, more than the 5 named"):
        run(made, replace(OPTIONS, steps=5), resume=True)


def test_a_check_that_fails_costs_no_run(parts, capsys):
    """The last checkpoint is there before the last check, and a continued run repeats it."""

    def broken(weights):
        assert checkpoints(made.folder)
        raise InputError("p.png: unreadable")

    made = parts(Toy(), check=broken)
    state = fit(made, OPTIONS, Console(), World(), resume=False)
    assert (state.step, state.unchecked) == (7, "p.png: unreadable")
    assert "warning: step 7: the check failed: p.png: unreadable" in capsys.readouterr().err
    again = replace(made, task=Toy(), check=lambda weights: {"check_error": 0.25})
    state = run(again, resume=True)
    assert (state.best, state.unchecked) == (0.25, "")
    assert history(again)[-1] == {"step": 7, "check_error": 0.25}
    state = create_state(Toy(), OPTIONS, torch.device("cpu"))
    load_checkpoint(checkpoints(made.folder)[-1], state)
    assert state.best == 0.25


def test_the_first_loss_is_said_at_once_and_later_ones_seldom(parts, capsys):
    fit(parts(Toy()), replace(OPTIONS, log_every=1), Console(), World(), resume=False)
    said = [line for line in capsys.readouterr().err.splitlines() if "loss" in line]
    assert [line.split()[2] for line in said] == ["1/7:", "7/7:"]
    assert said[0].endswith(" left")
    assert "left" not in said[1]
