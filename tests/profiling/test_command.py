from __future__ import annotations

import json
from pathlib import Path

import pytest

from g2vlm_fast.profiling.cases import shaped_cases
from g2vlm_fast.profiling.command import main, read_shapes
from g2vlm_fast.profiling.records import load

SHAPES = [{"op": "nearest", "name": "mine", "queries": 50, "targets": 70, "batch": 2}]


def test_profile_times_a_users_own_shapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = tmp_path / "shapes.json"
    shapes.write_text(json.dumps([{**SHAPES[0], "device": "cpu"}]))
    out = tmp_path / "out"
    arguments = ["--shapes", str(shapes), "--out", str(out), "--seconds", "0.01"]
    assert main([*arguments, "--providers", "g2vlm_fast", "reference"]) == 0
    records = load(out / "results/nearest.json")
    found = {(each.case, each.provider, each.direction) for each in records}
    assert ("mine", "g2vlm_fast", "fwd") in found
    assert ("mine", "reference", "fwd_bwd") in found
    assert (out / "reports/nearest.md").is_file()
    assert "mine fwd g2vlm_fast" in capsys.readouterr().out


def test_shapes_in_toml_and_json_are_the_same(tmp_path: Path) -> None:
    toml, plain = tmp_path / "shapes.toml", tmp_path / "shapes.json"
    toml.write_text(
        '[[case]]\nop = "nearest"\nname = "mine"\nqueries = 50\ntargets = 70\nbatch = 2\n'
    )
    plain.write_text(json.dumps(SHAPES))
    assert read_shapes(toml) == read_shapes(plain) == SHAPES


def test_shapes_become_inputs_of_those_sizes() -> None:
    (case,) = shaped_cases(SHAPES, "cpu")
    inputs = case.input_sets()[0]
    assert inputs["query"].shape == (100, 3)
    assert inputs["target"].shape == (140, 3)
    assert inputs["query_offsets"].tolist() == [0, 50, 100]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "nothing"}, "op must be one of"),
        ({"queries": 0}, "queries must be a positive whole number"),
        ({"rows": 5}, "unknown"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"device": "tpu"}, "device must be"),
        ({"cloud": "sheep"}, "cloud must be one of"),
    ],
)
def test_bad_shapes_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shaped_cases([{**SHAPES[0], **change}], "cpu")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", "[]", "must hold a list of cases"),
        ("a.toml", "= 1", "not TOML"),
        ("a.toml", "x = 1", "must hold a list of cases"),
        ("missing.json", None, "missing"),
    ],
)
def test_bad_shape_file_ends_with_status_2_and_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    out = tmp_path / "out"
    assert main(["--shapes", str(path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "nearest", "--seconds", "nan"], "--seconds must be positive and finite"),
        (["--suite", "nearest", "--seconds", "inf"], "--seconds must be positive and finite"),
        (["--suite", "nearest", "--limit", "-1"], "--limit must be positive and finite"),
        (["--all", "--shapes", "mine.json"], "--all and --shapes exclude each other"),
        (["--merge", "there", "--shapes", "mine.json"], "so --shapes says nothing"),
        (["--merge", "there", "--allow-dirty"], "so --allow-dirty says nothing"),
        (["--suite", "nearest", "--cases", "nonsense"], "--cases nonsense: no case has that"),
        (["--suite", "nearest", "--providers", "nobody"], "--providers nobody: these cases"),
    ],
)
def test_options_that_say_nothing_are_refused(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
