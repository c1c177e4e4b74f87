import importlib

from mfrkit.stages import doctor as module
from mfrkit.stages.doctor import doctor


def test_a_library_that_does_not_load_is_a_problem(monkeypatch):
    load = importlib.import_module

    def broken(name):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file\nsecond line")
        return load(name)

    monkeypatch.setattr(module.importlib, "import_module", broken)
    report = doctor()
    assert not report["ok"]
    assert report["problems"] == [
        "cv2 cannot be loaded: libGL.so.1: cannot open shared object file"
    ]


def test_changed_weights_are_a_problem(monkeypatch):
    monkeypatch.setattr(module, "verify", lambda name, *_: name != "arcface")
    report = doctor()
    assert report["weights"]["arcface"] == "changed"
    assert report["weights"]["mtcnn"] == "ok"
    assert "reinstall" in report["problems"][0]


def test_a_healthy_installation_has_no_problems():
    report = doctor()
    assert report["problems"] == []
    assert report["devices"]["cpu"]
