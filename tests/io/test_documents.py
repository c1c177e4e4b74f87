import pytest

from mfrkit.errors import InputError
from mfrkit.io.documents import parse_json, parse_toml, read_json_object


@pytest.mark.parametrize("text", ["[" * 100_000, "{", b"\xff", "1" * 5000, '{"a":' * 50_000])
def test_whatever_is_no_json_is_one_error_that_says_where(text):
    with pytest.raises(InputError, match="^notes.json: not JSON .*; mend it$"):
        parse_json(text, "notes.json", "; mend it")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a =", "a = " + "1" * 5000])
def test_whatever_is_no_toml_is_one_error_that_says_where(text):
    with pytest.raises(InputError, match="^notes.toml: not TOML"):
        parse_toml(text, "notes.toml")


def test_an_object_is_wanted(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1]}')
    assert read_json_object(path) == {"a": [1]}
    path.write_text("[1]")
    with pytest.raises(InputError, match="a.json: expected a JSON object, got list"):
        read_json_object(path)
    with pytest.raises(InputError, match="absent.json: unreadable"):
        read_json_object(tmp_path / "absent.json")
