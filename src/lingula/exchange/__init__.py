"""Weights in other people's formats, read and written."""
