"""Names that options take, for shells to offer. Needs no torch."""

from mfrkit.masks.kinds import COLORS, KINDS
from mfrkit.models.cards import BUNDLED
from mfrkit.models.model_files import read_card

__all__ = ["COLORS", "KINDS", "models_for"]


def models_for(task: str | None) -> list[str]:
    """Return the bundled models for a task; all of them for None."""
    return [name for name in BUNDLED if task is None or task in read_card(name)[0].tasks]
