"""Render a report as one HTML file that opens offline, as Markdown, or as a PDF of its figures."""

from hbcoop_dist.report.writers import FORMATS, markdown_table, write_report

__all__ = ["FORMATS", "markdown_table", "write_report"]
