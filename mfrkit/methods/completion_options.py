"""What pulls a completion generator, and how hard."""

from dataclasses import dataclass
from typing import get_args

from mfrkit.errors import InputError
from mfrkit.losses.adversarial import Game


@dataclass(frozen=True)
class CompletionOptions:
    """The losses of `FaceCompletion` and the game of its critics.

    Attributes:
        hole: weight of the pixels' absolute differences inside the hole.
        known: the same outside.
        sketch: factor on both for a first, coarse picture, where the network draws one.
        border: discount of the hole's pixels, per pixel from its border; 1 for none.
        features: weight of the distance between feature maps.
        style: weight of the distance between their Gram matrices.
        identity: weight of 1 - cosine between the recogniser's embeddings.
        variation: weight of the differences between neighbouring pixels of the hole.
        looked: share of each batch that the recogniser looks at, (0, 1]: it costs as much as the
            generator.
        adversarial: weight of the critics' opinion, 0 to do without critics.
        game: `hinge` with spectral normalisation, or `wasserstein` with a gradient penalty.
        penalty: weight of the gradient penalty.
        critic_steps: steps of the critics for each one of the generator.
        critic_from: share of the run after which the critics join, [0, 1).
        critic_width: channels of the critics' first layers.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    hole: float = 6.0
    known: float = 1.0
    sketch: float = 1.2
    border: float = 1.0
    features: float = 2.0
    style: float = 0.0
    identity: float = 1.0
    variation: float = 0.0
    looked: float = 0.5
    adversarial: float = 0.03
    game: Game = "hinge"
    penalty: float = 10.0
    critic_steps: int = 1
    critic_from: float = 0.6
    critic_width: int = 24

    def __post_init__(self) -> None:
        if self.game not in get_args(Game):
            raise InputError(f"method.game {self.game!r}: expected {' or '.join(get_args(Game))}")
        weights = ("hole", "known", "sketch", "features", "style", "identity", "variation")
        for name in (*weights, "adversarial", "penalty"):
            if getattr(self, name) < 0:
                raise InputError(f"method.{name} must not be negative, not {getattr(self, name)}")
        if not self.hole:
            raise InputError("method.hole must be positive: nothing else says what was there")
        for name in ("border", "looked"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"method.{name} must be above 0 and at most 1")
        if not 0 <= self.critic_from < 1:
            raise InputError("method.critic_from is a share of the run, from 0 to below 1")
        if min(self.critic_steps, self.critic_width) < 1:
            raise InputError("method.critic_steps and method.critic_width must be at least 1")

    @property
    def looks(self) -> bool:
        """Whether any loss needs the recogniser."""
        return self.features + self.style + self.identity > 0
