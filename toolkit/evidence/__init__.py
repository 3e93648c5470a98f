"""Evidence: what a reviewer asks for about runs, as one HTML file and as Markdown."""

from toolkit.evidence.report import Report, report

__all__ = ["Report", "report"]
