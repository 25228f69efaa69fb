"""Downstream tasks, their metrics and the report page."""
