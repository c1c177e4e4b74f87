"""What MEER trains, what pulls it, and when which part joins."""

from dataclasses import dataclass

from mfrkit.errors import InputError
from mfrkit.methods.maskinv import MaskInvOptions

# Losses beyond those of recognition, and the options that weigh them.
WEIGHTS = (
    *("mask", "parting", "decorrelation"),
    *("hole", "known", "features", "preserving", "adversarial"),
)


@dataclass(frozen=True)
class MeerOptions(MaskInvOptions):
    """The losses of `Meer`; those of recognition are MaskInv's.

    Attributes:
        decouple: part features into identity and mask; without it, both branches see all.
        synthesise: train a decoder that draws the face without mask.
        mask: weight of the predicted region's cross-entropy and soft Dice loss.
        parting: weight of how far the attention, averaged over channels, is from what is visible.
        decorrelation: weight of what identity and mask part of masked faces have in common.
        hole: weight of the drawn pixels' absolute differences inside the hole.
        known: the same outside.
        features: weight of the distance between feature maps of the first teacher.
        preserving: weight of 1 - cosine between the student's embeddings of the drawn and the true
            face.
        adversarial: weight of the critics' opinion, 0 to do without critics.
        looked: share of each batch that teacher and student look at once it is drawn, (0, 1].
        decoder_from: share of the run after which the decoder is trained, the rest being frozen.
        joint_from: share of the run after which everything is trained together.
        critic_from: share of the run after which the critics join.
        joint_rate: factor on the learning rate of that last part.
        critic_width: channels of the critics' first layers.

    Raises:
        InputError: on construction, for a number no run can use.
    """

    decouple: bool = True
    synthesise: bool = True
    mask: float = 0.2
    parting: float = 0.05
    decorrelation: float = 0.02
    hole: float = 0.6
    known: float = 0.1
    features: float = 0.2
    preserving: float = 0.1
    adversarial: float = 0.003
    looked: float = 0.25
    decoder_from: float = 0.4
    joint_from: float = 0.65
    critic_from: float = 0.8
    joint_rate: float = 0.5
    critic_width: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in WEIGHTS:
            if getattr(self, name) < 0:
                raise InputError(f"method.{name} must not be negative, not {getattr(self, name)}")
        if self.synthesise and not self.hole:
            raise InputError("method.hole must be positive: nothing else says what was there")
        if not 0 <= self.decoder_from <= min(self.joint_from, self.critic_from) <= 1:
            raise InputError(
                "method.decoder_from, joint_from and critic_from are shares of the run, and the "
                "decoder comes first"
            )
        if not 0 < self.looked <= 1 or self.joint_rate <= 0 or self.critic_width < 1:
            raise InputError(
                "method.looked is a share above 0 and up to 1, joint_rate and critic_width are "
                "positive"
            )
