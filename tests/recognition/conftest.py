"""One recogniser for all tests here: loading it is most of what they cost."""

import pytest

from mfrkit.recognition import search, verify
from mfrkit.recognition.recogniser import Recogniser


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser("mfr", device="cpu")


@pytest.fixture
def loaded(recogniser, monkeypatch) -> Recogniser:
    """The same, for the commands too."""
    for module in (search, verify):
        monkeypatch.setattr(module, "Recogniser", lambda *_, **__: recogniser)
    return recogniser
