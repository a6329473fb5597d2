"""The published schema of a report is that of its data, and takes what `to_dict` makes and nothing else."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.model.findings import READ, SCHEMA
from tests.render.browsing import fuzzed, network_report
from tests.render.test_hostile_text import hostile

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))


def test_published_schema_is_of_today() -> None:
    assert (DOCS / "report.schema.json").read_text(encoding="utf-8") == runpy.run_path(str(DOCS / "report_schema.py"))["text"]()


def of_complex() -> gl.Report:
    return gl.check(ops.mul, torch.tensor([1 + 2j]), torch.tensor([2j]))


@pytest.mark.parametrize("build", [network_report, of_complex, fuzzed])
def test_reports_keep_to_the_schema(build: Any) -> None:
    jsonschema.validate(json.loads(json.dumps(build().to_dict())), PUBLISHED)


def test_schema_refuses_what_is_no_report() -> None:
    data = network_report().to_dict()
    for wrong in (hostile("x").to_dict(), {**data, "more": 1}, {**data, "seconds": "1"}, {**data, "gradients": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, PUBLISHED)


@pytest.mark.parametrize("schema", [each for each in READ if each != SCHEMA])
def test_file_of_a_former_version_is_read_and_written_as_of_today(schema: int) -> None:
    """The files were written by the last version of each schema."""
    text = (Path(__file__).parent / "former" / f"schema-{schema}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    read = gl.Report.from_dict(data)
    assert (data["schema"], read.schema, read.verdict) == (schema, SCHEMA, "fail")
    assert read.findings[0].message == data["findings"][0]["message"]
    assert "square (squared)" in read.message
    again = json.loads(json.dumps(read.to_dict()))
    jsonschema.validate(again, PUBLISHED)
    assert {name: again[name] for name in data if name not in ("schema", "gradients", "findings")} == {
        name: data[name] for name in data if name not in ("schema", "gradients", "findings")
    }
    for name in ("gradients", "findings"):
        assert [{key: new[key] for key in old} for new, old in zip(again[name], data[name], strict=True)] == data[name]
    assert gl.Report.from_dict(again) == read
    assert "<!doctype html>" in read.to_html()
