"""Protocols: tasks as one paper ran them on one data set, as data, and what was published for them."""
