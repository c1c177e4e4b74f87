import io
import json
import re
import sys

from mfrkit.console import Console


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_pipe_gets_tab_separated_rows(capsys):
    Console().table("title", ["name", "EER %"], [["arcface", "1.5"], ["maskinv", "0.9"]])
    assert capsys.readouterr().out == "name\tEER %\narcface\t1.5\nmaskinv\t0.9\n"


def test_a_terminal_gets_a_table_with_figures_to_the_right(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    Console().table("title", ["name", "EER %", "note"], [["a", "1.5", "x"], ["b", "10.9", "yy"]])
    shown = sys.stdout.getvalue()
    assert "title" in shown
    assert "│   1.5 │ x    │" in shown
    assert "\x1b[3" not in shown.replace("\x1b[3m", "")  # no colours; the title may be italic


def shown_at(width, monkeypatch, *table):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    Console().table("title", *table)
    return re.sub(r"\x1b\[\d*m", "", sys.stdout.getvalue()).splitlines()


def test_a_narrow_terminal_breaks_a_table_between_columns_not_inside_figures(monkeypatch):
    columns = ["system", *(f"TAR@1e-{n} %" for n in range(1, 8))]
    rows = [["maskinv-edge probe masked", *(f"{n}.123456*" for n in range(7))]]
    lines = shown_at(50, monkeypatch, columns, rows)
    assert max(map(len, lines)) <= 50
    text = "\n".join(lines)
    for n in range(7):
        assert f" {n}.123456* " in text
    assert text.count("maskinv-edge") == 4, "each part names its line"
    assert text.count("title") == 1


def test_room_goes_to_cells_before_it_goes_to_headings(monkeypatch):
    lines = shown_at(36, monkeypatch, ["name", "a long heading"], [["one two three", "1"]])
    assert "│ one two three │" in "\n".join(lines)
    assert max(map(len, lines)) <= 36


def test_a_word_wider_than_the_terminal_is_folded(monkeypatch):
    lines = shown_at(30, monkeypatch, ["path", "n"], [["x" * 70, "1"]])
    assert max(map(len, lines)) <= 30
    assert "".join(lines).count("x") == 70


def test_records_go_to_pipes_only(capsys, monkeypatch):
    Console().record({"key": "Zoë"})
    assert json.loads(capsys.readouterr().out) == {"key": "Zoë"}
    monkeypatch.setattr(sys, "stdout", Terminal())
    Console().record({"key": "a"})
    assert sys.stdout.getvalue() == ""


def test_verbosity(capsys):
    for verbosity, wanted in ((-1, "e"), (0, "ie"), (1, "ide")):
        console = Console(verbosity)
        console.info("i")
        console.detail("d")
        console.error("e")
        said = [line.removeprefix("mfrkit: ") for line in capsys.readouterr().err.splitlines()]
        assert "".join(said) == wanted


def test_a_bar_says_what_the_run_works_for_and_makes_way_for_words(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    console = Console(about="mfr, masked")
    with console.progress("embed", 10):
        console.warn("one face is lost")
    shown = sys.stderr.getvalue()
    assert "embed mfr, masked:" in shown
    assert "\rmfrkit: warning: one face is lost\n" in shown, "at the start of a line"


def test_progress_shows_on_a_terminal_only(capsys, monkeypatch):
    with Console().progress("align", 10) as bar:
        bar.update(3)
        bar.set_postfix_str("x")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Console().progress("align", 10) as bar:
        bar.update(3)
        bar.set_postfix_str("late")
    assert "align" in sys.stderr.getvalue()
    with Console(-1).progress("quiet", 10) as bar:
        bar.update(1)
    assert "quiet" not in sys.stderr.getvalue()


def test_what_a_terminal_obeys_is_shown_and_not_sent(capsys, monkeypatch):
    Console().error("a\x1b[31m\n\u202eb\udcff\x9b: é ü 写真\u200d")
    wanted = "mfrkit: a\\x1b[31m\\n\\u202eb\\udcff\\x9b: é ü 写真\u200d\n"
    assert capsys.readouterr().err == wanted
    Console().table("t", ["name"], [["a\tb\nc"]])
    assert capsys.readouterr().out == "name\na\\tb\\nc\n"
    Console().data("a\x1bb")  # a pipe gets what there is
    assert capsys.readouterr().out == "a\x1bb\n"
    monkeypatch.setattr(sys, "stdout", Terminal())
    Console().data("a\x1bb\n{}")
    assert sys.stdout.getvalue() == "a\\x1bb\n{}\n"


def test_what_was_done_before_is_drawn_as_done_and_not_counted_into_the_rate(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Console().progress("train", 1000, unit="step", done=900) as bar:
        bar.update(50)
        shown = bar.format_dict
    assert (shown["n"], shown["initial"], shown["total"]) == (950, 900, 1000)
    assert "900/1000" in sys.stderr.getvalue()
    text = bar.format_meter(**{**shown, "elapsed": 25.0, "ncols": 80})
    assert "00:25<00:25" in text  # 50 steps in 25 s, so 50 more take as long
    assert "2.00step/s" in text


def test_lines_go_above_the_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    console = Console()
    with console.progress("train", 10, unit="step"):
        console.info("a check")
    shown = sys.stderr.getvalue()
    assert "\rmfrkit: a check\n" in shown
    assert shown.index("a check") < shown.rindex("train:")
