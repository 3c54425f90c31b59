"""The report of evaluations: one page that stands alone, and its charts as files."""

from g2vlm_fast.pipeline.evaluation_report.write import write_report

__all__ = ["write_report"]
