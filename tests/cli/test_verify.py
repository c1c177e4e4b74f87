"""`mfrkit verify` in a process of its own: exit codes, and one clear line for bad input."""

import json


def test_the_exit_code_answers_if_asked_to(mfr, photos):
    obama = [photos / "barack_obama" / f"barack_obama_000{n}.jpg" for n in (1, 2)]
    biden = photos / "joe_biden" / "joe_biden_0001.jpg"
    run = mfr("verify", obama[0], biden, "--threshold", "0.4", check=0)
    assert json.loads(run.stdout)["same"] is False
    mfr("verify", *obama, biden, "--threshold", "0.4", "--exit-code", check=1)
    run = mfr("verify", *obama, "-m", "nobody", check=2)
    assert b"nobody" in run.stderr
    assert len(run.stderr.splitlines()) == 1
