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
from tests.render.browsing import network_report
from tests.render.test_hostile_text import hostile

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))


def test_published_schema_is_of_today() -> None:
    assert (DOCS / "report.schema.json").read_text(encoding="utf-8") == runpy.run_path(str(DOCS / "report_schema.py"))["text"]()


@pytest.mark.parametrize("build", [network_report, lambda: gl.check(ops.mul, torch.tensor([1 + 2j]), torch.tensor([2j]))])
def test_reports_keep_to_the_schema(build: Any) -> None:
    jsonschema.validate(json.loads(json.dumps(build().to_dict())), PUBLISHED)


def test_schema_refuses_what_is_no_report() -> None:
    data = network_report().to_dict()
    for wrong in (hostile("x").to_dict(), {**data, "more": 1}, {**data, "seconds": "1"}, {**data, "gradients": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, PUBLISHED)


@pytest.mark.parametrize("schema", [3, 4])
def test_report_of_a_former_schema_is_read(schema: int) -> None:
    report = network_report()
    data = json.loads(json.dumps(report.to_dict()))
    for newer in ("steps", *(["not_run"] if schema == 3 else [])):
        del data[newer]
    for gradient in data["gradients"]:
        del gradient["picture"], gradient["distribution"]
    for finding in data["findings"]:
        del finding["source"], finding["kept"]
    read = gl.Report.from_dict({**data, "schema": schema})
    assert str(read) == str(report)
