"""Train a completion generator: crops in, one model file out."""

from functools import partial

from mfrkit.console import Console
from mfrkit.stages.train_inpaint_options import resolve
from mfrkit.stages.train_inpaint_parts import build
from mfrkit.stages.train_request import TrainRequest
from mfrkit.stages.train_run import Plan, Trained, train


def train_inpaint(request: TrainRequest, console: Console) -> Trained:
    """Train a generator and write it.

    Raises:
        InputError: unusable options, data or models, or an output that exists.
        WeightsError: a model that does not load or gives nonsense.
        MfrError: a loss was not finite.
    """
    settings = resolve(request)
    tables = settings.to_json()
    plan = Plan(
        command="train-inpaint",
        what=f"train {settings.model.network}",
        tables=tables,
        recipe={"data": list(request.data), "seed": request.seed, **tables},
        fit=settings.fit,
        card=settings.card,
        build=partial(build, request, settings),
    )
    return train(request, plan, console)
