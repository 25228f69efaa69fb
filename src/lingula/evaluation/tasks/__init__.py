"""Downstream tasks: each `run(encoder, store, config, cache) -> TaskResult`."""
