"""Evaluation with intervals, tests between systems, fixed thresholds and groups."""

import json

import h5py
import numpy as np
import pytest

from mfrkit.console import Console
from mfrkit.errors import InputError
from mfrkit.evaluation.assess import find_people
from mfrkit.evaluation.evaluate import evaluate
from mfrkit.evaluation.options import EvalOptions
from mfrkit.io.pairs import read_pairs
from mfrkit.metrics.bootstrap import Confidence

PEOPLE, DIM = 120, 12
KINDS = ("cloth", "n95")


def write(path, keys, vectors, **datasets):
    with h5py.File(path, "w") as file:
        file["embeddings"], file["keys"] = vectors.astype(np.float32), list(keys)
        for name in ("model", "weights_sha256", "flip"):
            if name in datasets:
                file.attrs[name] = datasets.pop(name)
        for name, values in datasets.items():
            file[name] = values
    return path


@pytest.fixture
def folder(tmp_path):
    """Clean and masked photos of 120 people, two each; 120 genuine and 600 impostor pairs."""
    random = np.random.default_rng(0)
    centres = np.random.default_rng(1).normal(size=(PEOPLE, DIM)).repeat(2, axis=0)
    keys = [f"P{p}/P{p}_{n:04d}" for p in range(PEOPLE) for n in (1, 2)]
    clean = centres + 0.5 * random.normal(size=centres.shape)
    masked = clean + 0.9 * random.normal(size=clean.shape) + 0.4
    flags = {"masked": np.ones(len(keys), np.int8)}
    flags["mask_type"] = [KINDS[n % 4 // 2] for n in range(len(keys))]
    made = {"model": "arcface", "weights_sha256": "aa" * 32, "flip": True}
    write(tmp_path / "clean.h5", keys, clean, **made)
    write(tmp_path / "masked.h5", keys, masked, **made, **flags)
    write(tmp_path / "other.h5", keys, clean, model="student", weights_sha256="bb" * 32)
    lines = [f"P{p} 1 2" for p in range(PEOPLE)]
    lines += [f"P{p} 1 P{(p + n) % PEOPLE} 2" for p in range(PEOPLE) for n in range(1, 6)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    return tmp_path


def run(folder, capsys, *files, probes=("masked.h5",), **options):
    chosen = EvalOptions(
        pairs=folder / "pairs.txt",
        embeddings=tuple(folder / name for name in files or ("clean.h5",)),
        probes=tuple(folder / name for name in probes),
        json=True,
        **options,
    )
    evaluate(chosen, Console())
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def scores_of(folder, first, second):
    """Recompute the scores of the pair list from the files."""
    with h5py.File(folder / first) as a, h5py.File(folder / second) as b:
        rows = {key.decode(): n for n, key in enumerate(a["keys"][:])}
        a, b = (f["embeddings"][:].astype(np.float64) for f in (a, b))
    pairs = [(f"P{p}/P{p}_0001", f"P{p}/P{p}_0002") for p in range(PEOPLE)]
    pairs += [
        (f"P{p}/P{p}_0001", f"P{(p + n) % PEOPLE}/P{(p + n) % PEOPLE}_0002")
        for p in range(PEOPLE)
        for n in range(1, 6)
    ]
    return np.array(
        [
            a[rows[x]] @ b[rows[y]] / np.linalg.norm(a[rows[x]]) / np.linalg.norm(b[rows[y]])
            for x, y in pairs
        ]
    )


def test_thresholds_of_the_unmasked_pairs_are_applied_to_the_masked_ones(folder, capsys):
    result = run(folder, capsys, fix_threshold="unmasked", fmr=(1e-1, 1e-2))["results"][0]
    clean, masked = (scores_of(folder, "clean.h5", name) for name in ("clean.h5", "masked.h5"))
    for found, target in zip(result["fixed_thresholds"], (1e-1, 1e-2), strict=True):
        impostors = np.sort(clean[PEOPLE:])
        over = [t for t in np.sort(clean) if (impostors >= t).mean() <= target]
        assert found["threshold"] == pytest.approx(over[0], abs=1e-6)
        assert found["set_on"] == "unmasked"
        assert [rates["group"] for rates in found["rates"]] == ["unmasked", "all pairs"]
        for rates, scores in zip(found["rates"], (clean, masked), strict=True):
            accepted = scores >= found["threshold"] - 1e-6  # it is a float32 score
            assert rates["false_matches"] == accepted[PEOPLE:].sum()
            assert rates["false_non_matches"] == (~accepted[:PEOPLE]).sum()
            assert (rates["genuine"], rates["impostor"]) == (PEOPLE, 5 * PEOPLE)
            assert rates["fnmr"] == rates["false_non_matches"] / PEOPLE
        assert found["achieved"]["fmr"] <= target
    assert result["fixed_thresholds"][1]["rates"][1]["fnmr"] > 0.1  # masks do harm


def test_rates_that_the_impostors_cannot_support_are_not_given(folder, capsys):
    result = run(folder, capsys, fix_threshold="unmasked", fmr=(1e-2, 1e-3))["results"][0]
    enough, few = result["fixed_thresholds"]
    assert enough["enough_impostors"]
    assert not few["enough_impostors"]
    assert few["rates"] == []


def test_a_threshold_is_carried_to_another_list(folder, capsys):
    path = folder / "t.json"
    first = run(folder, capsys, probes=(), fmr=(1e-2, 1e-4), threshold_out=path)["results"][0]
    document = json.loads(path.read_text())
    assert document["schema"] == 1
    (record,) = document["thresholds"]  # 600 impostors do not support 1e-4
    assert record["weights_sha256"] == "aa" * 32
    assert record["target_fmr"] == 1e-2
    assert record["achieved"] == first["fixed_thresholds"][0]["achieved"]
    then = run(folder, capsys, threshold=path)["results"][0]["fixed_thresholds"]
    at_once = run(folder, capsys, fix_threshold="unmasked", fmr=(1e-2,))["results"][0]
    assert len(then) == 1
    assert then[0]["set_on"] == "t.json"
    assert then[0]["rates"] == at_once["fixed_thresholds"][0]["rates"][1:]


def test_another_models_threshold_is_refused(folder, capsys):
    run(folder, capsys, probes=(), fmr=(1e-2,), threshold_out=folder / "t.json")
    expected = r"t.json: holds thresholds of arcface \(weights aaaaaaaaaaaa\), but .*other.h5 was"
    with pytest.raises(InputError, match=expected):
        run(folder, capsys, "other.h5", probes=(), threshold=folder / "t.json")


def test_a_threshold_of_other_flip_averaging_is_remarked_on(folder, capsys):
    run(folder, capsys, probes=(), fmr=(1e-2,), threshold_out=folder / "t.json")
    with h5py.File(folder / "clean.h5", "a") as file:
        file.attrs["flip"] = False
    options = EvalOptions(folder / "pairs.txt", (folder / "clean.h5",), threshold=folder / "t.json")
    evaluate(options, Console())
    assert "differ in flip: True and False" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not JSON"),
        ("[]", "expected a JSON object, got list"),
        ('{"schema": 2, "thresholds": []}', "schema 2"),
        ('{"schema": 1, "thresholds": [{"threshold": 0.3}]}', "not a file of thresholds"),
        ('{"schema": 1, "thresholds": []}', "holds thresholds of nothing"),
    ],
)
def test_broken_threshold_files_are_refused(folder, capsys, text, message):
    (folder / "t.json").write_text(text)
    with pytest.raises(InputError, match=message):
        run(folder, capsys, threshold=folder / "t.json")


def test_threshold_files_that_would_mislead_are_not_written(folder, capsys):
    out = folder / "t.json"
    with pytest.raises(InputError, match="too few impostor pairs for any FMR"):
        run(folder, capsys, fmr=(1e-5,), threshold_out=out)
    with pytest.raises(InputError, match="two systems are the same model"):
        run(folder, capsys, "clean.h5", "masked.h5", fmr=(1e-2,), threshold_out=out)
    assert not out.exists()
    twice = {"fix_threshold": "unmasked", "fmr": (1e-2,), "threshold_out": out}
    run(folder, capsys, "clean.h5", "clean.h5", probes=("masked.h5", "other.h5"), **twice)
    assert len(json.loads(out.read_text())["thresholds"]) == 1  # the same one for both


def test_groups_add_up_and_have_their_own_rates(folder, capsys):
    found = run(folder, capsys, by=("mask", "masked"), fmr=(1e-2,))["results"][0]
    (fixed,) = found["fixed_thresholds"]
    everything, cloth, n95, masked = fixed["rates"]
    assert [r["group"] for r in fixed["rates"]] == ["all pairs", "cloth", "n95", "masked + unknown"]
    assert [r["by"] for r in fixed["rates"]] == [None, "mask", "mask", "masked"]
    for name in ("genuine", "impostor", "false_matches", "false_non_matches"):
        assert cloth[name] + n95[name] == everything[name] == masked[name]
    scores, probes = scores_of(folder, "clean.h5", "masked.h5"), np.arange(PEOPLE)
    wearing = probes % 2 == 0  # the genuine pairs whose probe wears cloth
    missed = scores[:PEOPLE][wearing] < fixed["threshold"] - 1e-6  # it is a float32 score
    assert (cloth["genuine"], cloth["false_non_matches"]) == (wearing.sum(), missed.sum())
    assert cloth["enough_impostors"]
    assert cloth["enough_genuine"]


def test_groups_of_a_table(folder, capsys):
    lines = ["key,sex"] + [
        f"P{p}/P{p}_{n:04d}.jpg,{'FM'[p >= 20]}" for p in range(110) for n in (1, 2)
    ]
    (folder / "t.csv").write_text("\n".join(lines))
    found = run(folder, capsys, by=("sex",), covariates=folder / "t.csv", fmr=(1e-2,))
    rates = {r["group"]: r for r in found["results"][0]["fixed_thresholds"][0]["rates"]}
    assert {name: r["genuine"] for name, r in rates.items()} == {
        "all pairs": 120,
        "F": 20,
        "F + M": 0,
        "M": 90,
        "unknown": 10,
    }
    assert not rates["F"]["enough_genuine"]
    assert rates["F + M"]["fnmr"] is None
    assert not rates["F + M"]["enough_impostors"]


def test_a_manifest_describes_the_probes_alone(folder, capsys):
    keys = [f"P{p}/P{p}_{n:04d}" for p in range(PEOPLE) for n in (1, 2)]
    records = [
        {"path": f"{key}.png", "mask": {"type": "x", "coverage": ("above", "on")[key[-1] == "2"]}}
        for key in keys
    ]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, records)))
    table = folder / "m.jsonl"
    for probes, names in ((("masked.h5",), ["on"]), ((), ["above + on"])):
        found = run(folder, capsys, probes=probes, by=("coverage",), covariates=table, fmr=(1e-2,))
        rates = found["results"][0]["fixed_thresholds"][0]["rates"]
        assert [r["group"] for r in rates[1:]] == names


def test_traits_nobody_knows_are_refused(folder, capsys):
    with pytest.raises(InputError, match=r"--by coverage: name the manifest"):
        run(folder, capsys, by=("coverage",))
    with pytest.raises(InputError, match=r"--by age: expected masked or mask"):
        run(folder, capsys, by=("age",))
    (folder / "t.csv").write_text(
        "key,sex,n\n" + "".join(f"P{p}/P{p}_0002,F,{p}\n" for p in range(3))
    )
    with pytest.raises(InputError, match=r"no such column in .*t.csv \(there are: sex, n\)"):
        run(folder, capsys, by=("age",), covariates=folder / "t.csv")
    keys = [f"P{p}/P{p}_{n:04d}" for p in range(PEOPLE) for n in (1, 2)]
    lines = [f"{key},{place}" for place, key in enumerate(keys)]
    (folder / "t.csv").write_text("\n".join(["key,n", *lines]))
    with pytest.raises(InputError, match=r"--by n: 720 different groups"):
        run(folder, capsys, by=("n",), covariates=folder / "t.csv")


def test_intervals_hold_the_figures_and_are_reproducible(folder, capsys):
    options = {"ci": 95.0, "fmr": (1e-2,), "far": (1e-1, 1e-4)}
    found = run(folder, capsys, **options)
    assert found == run(folder, capsys, **options)
    assert found != run(folder, capsys, seed=1, **options)
    assert found["bootstrap"] == {
        "level": 0.95,
        "resamples": 1000,
        "seed": 0,
        "people": PEOPLE,
        "told_apart_by": "names",
    }
    result = found["results"][0]
    ends = result["intervals"]
    assert ends["eer"]["low"] < result["eer"]["rate"] < ends["eer"]["high"]
    assert ends["auc"]["low"] < result["auc"] < ends["auc"]["high"]
    assert ends["tar@0.1"]["low"] < result["tar_at_far"][0]["tar"] < ends["tar@0.1"]["high"]
    assert ends["tar@0.0001"] == {"low": None, "high": None}  # 600 impostors
    rates = result["fixed_thresholds"][0]["rates"][0]
    assert rates["intervals"]["fnmr"]["low"] < rates["fnmr"] < rates["intervals"]["fnmr"]["high"]
    assert found["comparisons"] == []


def test_two_systems_are_compared_on_the_same_resamples(folder, capsys):
    found = run(folder, capsys, "clean.h5", "clean.h5", probes=("clean.h5", "masked.h5"), ci=90.0)
    (tested,) = found["comparisons"]
    clean, masked = found["results"]
    assert (tested["first"], tested["second"]) == (clean["system"], masked["system"])
    assert tested["eer"]["value"] == pytest.approx(clean["eer"]["rate"] - masked["eer"]["rate"])
    assert tested["eer"]["interval"]["high"] < 0
    assert tested["eer"]["p"] < 0.01
    assert tested["mcnemar"]["only_first"] > tested["mcnemar"]["only_second"]
    assert tested["mcnemar"]["p"] < 0.01
    itself = run(folder, capsys, "clean.h5", "clean.h5", probes=(), ci=90.0)["comparisons"][0]
    assert (itself["eer"]["p"], itself["mcnemar"]["p"]) == (1.0, 1.0)


def test_systems_on_different_pairs_are_not_compared(folder, capsys):
    with h5py.File(folder / "clean.h5") as file:
        keys, vectors = [key.decode() for key in file["keys"][2:]], file["embeddings"][2:]
    write(folder / "part.h5", keys, vectors)
    files = ("clean.h5", "part.h5")
    assert not run(folder, capsys, *files, probes=(), ci=95.0, missing="drop")["comparisons"]
    assert run(folder, capsys, *files, probes=(), ci=95.0, missing="reject")["comparisons"]


def test_failures_to_enrol_and_acquire_count_in_the_error_rates(folder, capsys):
    with h5py.File(folder / "masked.h5", "a") as file:
        vectors = file["embeddings"][:]
        vectors[1:12:2] = 0  # the second photos of P0 to P5
        file["embeddings"][:] = vectors
    result = run(folder, capsys, missing="reject", fmr=(1e-2,))["results"][0]
    assert result["enrolment"] == {
        "failed_references": 0,
        "references": 120,
        "failed_probes": 6,
        "probes": 120,
        "fte": 0.0,
        "fta": 0.05,
    }
    dropped = run(folder, capsys, missing="drop", fmr=(1e-2,))["results"][0]
    assert dropped["enrolment"] == result["enrolment"]
    kept, left_out = (r["fixed_thresholds"][0]["rates"][0] for r in (result, dropped))
    assert (kept["genuine"], left_out["genuine"]) == (120, 114)


def test_images_that_the_unmasked_pairs_lack_are_an_error_too(folder, capsys):
    with h5py.File(folder / "clean.h5") as file:
        keys, vectors = [key.decode() for key in file["keys"][:]], file["embeddings"][:]
    firsts = [place for place, key in enumerate(keys) if key.endswith("1")]
    write(folder / "refs.h5", [keys[place] for place in firsts], vectors[firsts])
    assert run(folder, capsys, "refs.h5")["results"]
    with pytest.raises(InputError, match=r"refs.h5: (no embedding|has none)"):
        run(folder, capsys, "refs.h5", fix_threshold="unmasked")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ci": 0.0}, "--ci 0: expected per cent"),
        ({"ci": 100.0}, "--ci 100"),
        ({"fmr": (2.0,)}, "--fmr 2"),
        ({"fix_threshold": "masked"}, "--fix-threshold 'masked': expected unmasked"),
        ({"fix_threshold": "unmasked", "probes": ()}, "needs the masked images"),
        ({"threshold": "t.json", "fmr": (0.1,)}, "--threshold brings thresholds along"),
        ({"covariates": "t.csv"}, "--covariates needs --by"),
        ({"threshold_out": "clean.h5"}, "clean.h5: would be written over"),
    ],
)
def test_unusable_options_are_refused(folder, capsys, change, message):
    change = {n: folder / v if str(v).startswith(("t.", "clean")) else v for n, v in change.items()}
    with pytest.raises(InputError, match=message):
        run(folder, capsys, **change)


def test_tables_in_a_pipe_are_parted_by_empty_lines(mfr, folder):
    mfr.folder = folder
    line = "eval pairs.txt clean.h5 clean.h5 --probes clean.h5 --probes masked.h5"
    done = mfr(*f"{line} --ci 95 --fmr 1e-2,1e-5 --by mask".split(), check=0)
    main, ends, differences, fixed = (
        [line.split("\t") for line in table.splitlines()]
        for table in done.stdout.decode().split("\n\n")
    )
    assert main[0][:3] == ["system", "EER %", "TAR@1e-2 %"]
    assert ends[0] == ["system", "figure", "value", "low", "high"]
    assert len(ends) == 1 + 2 * 9
    assert differences[1][2] == "accuracy %, first - second"
    assert {row[4] for row in fixed[1:]} >= {"all pairs", "mask: cloth", "mask: n95"}
    assert any(row[3] == "not enough impostors" for row in fixed)
    for table in (main, ends, differences, fixed):
        assert len({len(row) for row in table}) == 1
    assert b"rule of 30" in done.stderr


def people_of(tmp_path, text, identities=None):
    (tmp_path / "pairs.txt").write_text(text)
    pairs = read_pairs(tmp_path / "pairs.txt")
    return pairs, *find_people(pairs, identities or {})


def test_names_of_an_lfw_list(tmp_path):
    _, people, told_by = people_of(tmp_path, "Ada 1 2\nBob 1 Cid 1\nAda 1 Bob 2\n")
    assert told_by == "names"
    assert people.count == 3
    assert people.first.tolist() == [0, 1, 0]
    assert people.second.tolist() == [0, 2, 1]


def test_stored_identities_come_before_folders(tmp_path):
    lines = "x/1 x/2 1\nx/1 x/3 0\ny/4 x/3 1\n"
    identities = {"x/1": "Ada", "x/2": "Ada", "x/3": "Bob", "y/4": "Bob"}
    _, people, told_by = people_of(tmp_path, lines, identities)
    assert told_by == "names"
    assert people.first.tolist() == [0, 0, 1]
    assert people.second.tolist() == [0, 1, 1]


@pytest.mark.parametrize("folder", ["", "all/"])
def test_images_are_joined_by_genuine_pairs_where_names_say_nothing(tmp_path, folder):
    lines = "1 2 1\n2 3 1\n4 5 1\n1 5 0\n6 3 0\n"
    keyed = "\n".join(
        " ".join([folder + a, folder + b, same])
        for a, b, same in map(str.split, lines.splitlines())
    )
    _, people, told_by = people_of(tmp_path, keyed)
    assert told_by == "genuine pairs"
    assert people.count == 3
    one, two, three = people.first[0], people.first[2], people.first[4]
    assert people.first.tolist() == [one, one, two, one, three]
    assert people.second.tolist() == [one, one, two, two, one]


def test_one_wrong_label_in_many_does_not_discredit_the_names(tmp_path):
    text = "\n".join(f"P{n}/1 P{n}/2 1" for n in range(150)) + "\nP1/1 P1/3 0\n"
    _, people, told_by = people_of(tmp_path, text)
    assert told_by == "names"
    assert people.count == 150


def test_some_pairs_keep_the_draws_of_all(tmp_path):
    _, people, told_by = people_of(tmp_path, "Ada 1 2\nBob 1 Cid 1\n")
    some = Confidence(0.95, 0, people, told_by).people_of(np.array([False, True]))
    assert (some.first.tolist(), some.second.tolist(), some.count) == ([1], [2], 3)
