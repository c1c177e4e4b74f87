"""`mfrkit search` in a process of its own."""

import json


def test_people_are_found_and_bad_input_is_one_clear_line(mfr, photos):
    shot = photos / "barack_obama" / "barack_obama_0002.jpg"
    arguments = ("search", photos, shot, "--index", "i.h5", "--threshold", "0.4")
    (line,) = mfr(*arguments, check=0).stdout.splitlines()
    assert json.loads(line)["person"] == "barack_obama"
    run = mfr("search", photos, "nowhere", "--index", "i.h5", check=2)
    assert run.stderr.decode().splitlines()[-1] == "mfrkit: nowhere: no such file or folder"
