"""The loop that trains any method."""
