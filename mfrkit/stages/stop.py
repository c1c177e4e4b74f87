"""Let a training step finish before Ctrl-C or SIGTERM takes effect."""

import signal
import threading
from types import FrameType

from mfrkit.errors import Terminated


class StopRequest:
    """Note Ctrl-C and SIGTERM; use as a context manager. A second one interrupts at once.

    Attributes:
        asked: what to raise when the work in hand is finished, None if nothing asked for a stop.
    """

    def __init__(self) -> None:
        self.asked: type[BaseException] | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if self.asked is not None:
            raise kind
        self.asked = kind
