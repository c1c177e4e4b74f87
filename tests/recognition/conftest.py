"""One recogniser for all tests here: loading it is most of what they cost."""

import pytest

from mfrkit.recognition import search, verify
from mfrkit.recognition.recogniser import Recogniser


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser("mfr", device="cpu")


class Remembering(Recogniser):
    """Looks at a photo once, however many tests show it."""

    def __init__(self, recogniser: Recogniser) -> None:
        vars(self).update(vars(recogniser))
        self.seen = {}

    def faces_of(self, photos):
        keys = [(photo.shape, photo.tobytes()) for photo in photos]
        new = {key: photo for key, photo in zip(keys, photos, strict=True) if key not in self.seen}
        self.seen |= zip(new, super().faces_of(list(new.values())), strict=True)
        return [self.seen[key] for key in keys]


@pytest.fixture(scope="session")
def remembering(recogniser) -> Recogniser:
    return Remembering(recogniser)


@pytest.fixture
def loaded(remembering, monkeypatch) -> Recogniser:
    """The same, for the commands too."""
    for module in (search, verify):
        monkeypatch.setattr(module, "Recogniser", lambda *_, **__: remembering)
    return remembering
