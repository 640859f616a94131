"""What a store says, as one file for people: HTML that opens offline, Markdown, or a PDF of figures.

`build_report` (hydrogen bonds) and `build_generalization_report` gather words, tables and figures from a store's
dataset; `write_report` writes them, by the file's suffix.
"""

from hbcoop_dist.report.content import Chart, Report, ReportError, Table
from hbcoop_dist.report.generalization_pages import build_generalization_report
from hbcoop_dist.report.hbond_pages import build_report
from hbcoop_dist.report.ranking import REFERENCE
from hbcoop_dist.report.writers import FORMATS, write_report

__all__ = [
    "FORMATS",
    "REFERENCE",
    "Chart",
    "Report",
    "ReportError",
    "Table",
    "build_generalization_report",
    "build_report",
    "write_report",
]
