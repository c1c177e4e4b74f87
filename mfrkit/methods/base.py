"""What every training method is: an object that turns a batch into named losses."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from mfrkit.errors import WeightsError
from mfrkit.losses.partial import PartialHead
from mfrkit.methods.batch import FaceBatch

Losses = dict[str, Tensor]


class Task(nn.Module):
    """A method: its networks, and what a step asks of them.

    A subclass sets `student`, the network that is exported, and gives the losses of a batch. The
    entry `loss` is minimised; all entries are logged.
    """

    student: nn.Module

    def forward(self, batch: FaceBatch) -> Losses:
        """Return the losses of a batch, scalars by name, `loss` among them."""
        raise NotImplementedError

    def steps(self, batch: FaceBatch) -> Iterator[tuple[str, Losses]]:
        """Yield the optimiser steps of a batch: whose step, and its losses.

        The loop steps before it asks for the next, so a second step sees the first one's update.
        """
        yield "main", self(batch)

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Return the trainable parameters behind each name that `steps` yields."""
        return {"main": [p for p in self.parameters() if p.requires_grad]}

    def clipped(self) -> list[nn.Parameter]:
        """Return the parameters whose joint gradient norm is limited: the student's."""
        return [p for p in self.student.parameters() if p.requires_grad]

    def rate(self) -> float:
        """Return the factor on the learning rate of the coming step."""
        return 1.0

    def compiled(self) -> list[nn.Module]:
        """Return the networks whose calls are worth compiling."""
        return [self.student]

    def sharded(self) -> Mapping[str, nn.Parameter]:
        """Return the parameters, by full name, of which each process trains rows of its own.

        They are the weights of classifiers that hold a share of the people in each process.
        """
        return {
            f"{name}.weight": part.weight
            for name, part in self.named_modules()
            if isinstance(part, PartialHead) and part.world > 1
        }


class Frozen(nn.Module):
    """A network that never trains: fixed weights, always in eval mode.

    Gradients still reach its input, which an identity-preserving loss needs.

    Args:
        network: set to eval mode, its parameters asked for no gradients.

    Example:
        >>> frozen = Frozen(nn.Dropout()).train()
        >>> frozen.network.training
        False
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in eval mode, whatever is asked."""
        return super().train(False)

    def forward(self, faces: Tensor) -> Tensor:
        """Call the network."""
        result: Tensor = self.network(faces)
        return result


def check_finite(template: Tensor) -> None:
    """Refuse a teacher that gives nonsense, rather than distil it.

    Raises:
        WeightsError: an embedding is not finite.
    """
    if not bool(template.isfinite().all()):
        raise WeightsError("the teacher's output is not finite; its weights are unusable")
