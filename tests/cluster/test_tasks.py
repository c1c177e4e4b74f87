"""What a shard gets of a cluster."""

import pytest

from mfrkit.cluster.tasks import Share, joined, share_of
from mfrkit.errors import InputError


def node(cpus, gpus=0, alive=True):
    resources = {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "workers", "device", "share"),
    [
        ([node(4), node(2)], None, "auto", Share(1, 0, 6)),
        ([node(4), node(2)], 2, "auto", Share(2, 0, 3)),
        ([node(4), node(8, alive=False)], None, "auto", Share(1, 0, 4)),
        ([node(16, 2), node(64)], None, "auto", Share(8, 1, 2)),
        ([node(16, 2), node(8, 2)], None, "cuda", Share(4, 1, 4)),
        ([node(16, 4)], 8, "cuda", Share(8, 1, 2)),
        ([node(2, 4)], None, "cuda", Share(1, 1, 2)),
        ([node(16, 2)], None, "cpu", Share(1, 0, 16)),
    ],
)
def test_shares(nodes, workers, device, share):
    assert share_of(nodes, workers, device) == share


def test_what_no_node_has_is_refused():
    with pytest.raises(InputError, match="no node of the cluster has a GPU"):
        share_of([node(8)], None, "cuda")
    with pytest.raises(InputError, match="--workers 9: no node"):
        share_of([node(8), node(4)], 9, "cpu")


def test_without_ray_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with (
        pytest.raises(InputError, match=r"pip install 'mfrkit\[cluster\]'"),
        joined("local"),
    ):
        pass
