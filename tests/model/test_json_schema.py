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


@pytest.mark.parametrize("schema", [3, 4, 5])
def test_report_of_a_former_schema_is_read(schema: int) -> None:
    report = network_report()
    data = json.loads(json.dumps(report.to_dict()))
    newer = {3: ("drawn", "steps", "not_run"), 4: ("drawn", "steps"), 5: ("drawn",)}
    for name in newer[schema]:
        del data[name]
    for gradient in data["gradients"] if schema < 5 else ():
        del gradient["picture"], gradient["distribution"]
    for finding in data["findings"] if schema < 5 else ():
        del finding["source"], finding["kept"]
    read = gl.Report.from_dict({**data, "schema": schema})
    assert str(read) == str(report)
