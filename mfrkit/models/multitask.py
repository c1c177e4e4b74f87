"""Networks that do more than one task: one model file, several uses."""

from torch import nn

from mfrkit.models.cards import ModelCard, Task


class MultiTask(nn.Module):
    """A network whose card names further tasks under `also`."""

    def part(self, task: Task, card: ModelCard) -> nn.Module:
        """Return what does one task, as the models that do nothing else are called.

        Args:
            task: one of the card's.
            card: of this network.

        Returns:
            A module on this network's own weights: for `recognition` and `region` it takes
            normalised faces, for `completion` it is a `Completion`.
        """
        raise NotImplementedError


def part_for(task: Task, network: nn.Module, card: ModelCard) -> nn.Module:
    """Return what does a task in a network: all of it, unless it does several."""
    return network.part(task, card) if isinstance(network, MultiTask) else network
