"""From sources to stores to batches."""
