"""What wrong names among really masked people do to a student, and whether leaving out helps.

    python examples/wrong_labels.py real_crops real.csv -o wrong --photos real_masked \\
        --pairs real-portrait.csv --pairs real-masked.csv \\
        -- wide --teacher edgeface --student edgeface --init edgeface --steps 600 --seed 1

Takes the people of REAL (aligned crops, `mfrkit align`) who are not held out (every fifth by sorted
name is), gives a share of their masked photos the name of somebody else, and trains once for each
--trim from the same start: what comes after `--` goes to `mfrkit distill`. The students are scored
on the lists of held-out people that `real_pairs.py` writes. The same seed plants the same names.
"""

import argparse
import csv
import dataclasses
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

from mfrkit.io.source import open_source


def read_masked(table):
    """Return the keys of masked photos."""
    with table.open(encoding="utf-8", newline="") as file:
        return {row["key"] for row in csv.DictReader(file) if row["masked"] == "1"}


def plant(items, masked, share, chance):
    """Return the people's records, some masked ones under wrong names, and how many those are."""
    names = sorted({item.record.identity for item in items})
    worn = [place for place, item in enumerate(items) if item.record.key in masked]
    wrong = set(chance.sample(worn, round(share * len(worn))))
    records = []
    for place, item in enumerate(items):
        name = item.record.identity
        if place in wrong:
            name = chance.choice([other for other in names if other != name])
        records.append(dataclasses.replace(item.record, identity=name))
    return records, len(wrong)


def training_people(source, every):
    """Return the readable crops of the people who are not held out."""
    items = [item for item in open_source(source) if item.path is not None]
    people = sorted({item.record.identity for item in items if item.record.identity})
    held = set(people[every - 1 :: every])
    return [item for item in items if item.record.identity and item.record.identity not in held]


def run(*words):
    """Run a command of mfrkit; stop where it fails."""
    print("mfrkit", *words, flush=True)
    if code := subprocess.run(
        [Path(sys.executable).with_name("mfrkit"), *map(str, words)]
    ).returncode:
        sys.exit(code)


def score(students, options):
    """Compare the students on each list, and return EER by list and student."""
    found = {}
    for pairs in options.pairs:
        folder = options.output / pairs.stem
        models = [word for student in students for word in ("-m", student)]
        run("benchmark", pairs, options.photos, "--no-masks", *models, "-o", folder, "--ci", 95)
        results = json.loads((folder / "results.json").read_bytes())["results"]
        found[pairs.stem] = {result["system"]: result["eer"]["rate"] for result in results}
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="what follows -- goes to mfrkit distill"
    )
    parser.add_argument("real", help="aligned crops, a folder for each person")
    parser.add_argument("table", type=Path, help="CSV with the columns key, masked, portrait")
    parser.add_argument("-o", "--output", type=Path, default=Path("wrong"))
    parser.add_argument("--photos", help="of the people held out; none scores nothing")
    parser.add_argument("--pairs", type=Path, action="append", default=[], help="repeatable")
    parser.add_argument("--share", type=float, default=0.05, help="of masked photos to rename")
    parser.add_argument("--trim", type=float, nargs="*", default=[0.1, 0.0])
    parser.add_argument("--every", type=int, default=5, help="person who is held out; 0 nobody")
    parser.add_argument("--seed", type=int, default=0, help="of the wrong names")
    words = [*sys.argv[1:], "--"]
    own = words.index("--")
    options, distill = parser.parse_args(words[:own]), words[own + 1 : -1]

    items = training_people(options.real, options.every or sys.maxsize)
    chance = random.Random(options.seed)
    records, count = plant(items, read_masked(options.table), options.share, chance)
    planted = options.output / "planted"
    for item in items:  # a manifest names nothing outside its folder
        path = planted / item.record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.path, path)
    lines = [json.dumps(record.to_json()) + "\n" for record in records]
    (planted / "manifest.jsonl").write_text("".join(lines))
    print(f"{planted}: {count} of the masked photos have wrong names")
    students = []
    for trim in options.trim:
        students.append(options.output / f"trim-{trim:g}.safetensors")
        settings = ("--set", f"real.table={options.table}", "--set", f"real.trim={trim}")
        run(
            "distill",
            *distill,
            "--real",
            planted,
            *settings,
            "-o",
            students[-1],
            "--resume",
        )
    if options.photos:
        for pairs, rates in score(students, options).items():
            for system, rate in rates.items():
                print(f"{pairs:<16}{system:<24}EER {100 * rate:6.2f} %")


if __name__ == "__main__":
    main()
