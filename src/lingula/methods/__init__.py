"""Pre-training methods, each reading like its paper."""
