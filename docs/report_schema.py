"""Writes `report.schema.json`, the JSON Schema of `Report.to_dict()`: `python docs/report_schema.py`."""

from __future__ import annotations

import json
from pathlib import Path

from gradcheck_lab.model.findings import SCHEMA, ReportData
from gradcheck_lab.model.json_schema import json_schema

FILE = Path(__file__).with_name("report.schema.json")


def text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(json_schema(ReportData, f"gradcheck_lab report, schema {SCHEMA}"), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
