"""Where in an image a phrase lies: maps, their truth, metrics, thresholds, priors, and whether sides matter."""
