"""`mfrkit verify` and `search` as a user runs them."""

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


def test_people_are_found_and_bad_input_is_one_clear_line(mfr, photos):
    shot = photos / "barack_obama" / "barack_obama_0002.jpg"
    arguments = ("search", photos, shot, "--index", "i.h5", "--threshold", "0.4")
    (line,) = mfr(*arguments, check=0).stdout.splitlines()
    assert json.loads(line)["person"] == "barack_obama"
    run = mfr("search", photos, "nowhere", "--index", "i.h5", check=2)
    assert run.stderr.decode().splitlines()[-1] == "mfrkit: nowhere: no such file or folder"
