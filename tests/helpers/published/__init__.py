"""Miniatures of public data sets in their published layouts, one module each."""
