"""Take feature maps out of the middle of a network."""

from typing import Any

from torch import Tensor, nn

from mfrkit.errors import InputError


class Tap:
    """Keep what a stage of a network gave at its last call.

    Args:
        network: that holds the stage, at any depth.
        stage: end of a module's name, such as `block.11` of MobileFaceNet, `layer3` of iResNet.

    Raises:
        InputError: no stage, or more than one, of this name.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten())
        >>> tap = Tap(network, "0")
        >>> _ = network(torch.zeros(1, 3, 2, 2))
        >>> tuple(tap.take().shape)
        (1, 4, 2, 2)
    """

    def __init__(self, network: nn.Module, stage: str) -> None:
        found = [
            module
            for name, module in network.named_modules()
            if name == stage or name.endswith(f".{stage}")
        ]
        if len(found) != 1:
            raise InputError(
                f"method.stage {stage!r}: {len(found)} modules are named so, expected one in the "
                "student and one in the teacher; block.11 of mobilefacenet, layer3 of iresnet, "
                "stages.2 of edgeface"
            )
        self._map: Tensor | None = None
        found[0].register_forward_hook(self._note)

    def take(self) -> Tensor:
        """Return the (B, C, H, W) map of the last call, once: it is not held any longer.

        Raises:
            RuntimeError: the network was not called since.
        """
        taken, self._map = self._map, None
        if taken is None:
            raise RuntimeError("the tapped network was not called")
        return taken

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._map = output.to_dense() if output.is_mkldnn else output
