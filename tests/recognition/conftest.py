"""One recogniser for all tests here: loading it is most of what they cost."""

import pytest

from mfrkit.recognition.recogniser import Recogniser


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser("mfr", device="cpu")
