"""What every other part rests on: types, errors, files, configuration, distribution, checkpoints."""
