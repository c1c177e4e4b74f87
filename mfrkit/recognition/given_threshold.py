"""A threshold given on the command line: a number, or a file of `mfrkit eval --threshold-out`."""

from pathlib import Path

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.models.cards import ModelCard
from mfrkit.recognition.decision import Threshold


def given_threshold(
    text: str | None, card: ModelCard, fmr: float, console: Console, *, flip: bool = True
) -> Threshold | None:
    """Read what `--threshold` says.

    Args:
        text: a cosine similarity or the name of a threshold file; None: nothing.
        card: of the model that makes the embeddings.
        fmr: the rate whose threshold is taken from a file.
        console: is warned of a threshold for the other kind of flip.
        flip: whether faces are averaged with their mirror images.

    Raises:
        InputError: neither a number nor a readable file, or a file of another model's thresholds
            or without one for this rate.
    """
    if text is None:
        return None
    try:
        return Threshold(float(text))
    except ValueError:
        path = Path(text)
    if not path.is_file():
        raise InputError(f"--threshold {text}: neither a number nor a file of eval --threshold-out")
    from mfrkit.stages.embed import origin  # a number needs none of what files need
    from mfrkit.stages.threshold_file import ThresholdFile

    settings = ThresholdFile(path).settings_for(
        origin(card, flip=flip), Path(f"model {card.name}"), console
    )
    for setting in settings:
        found = setting.calibration
        if abs(found.target - fmr) <= 1e-9 * fmr:
            return Threshold(found.threshold, found.target, found.decisions.fnmr)
    held = ", ".join(f"{setting.calibration.target:g}" for setting in settings)
    raise InputError(f"{path}: no threshold at FMR {fmr:g}, only at {held}; choose with --fmr")
