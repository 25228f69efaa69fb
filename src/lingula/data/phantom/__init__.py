"""A deterministic generator of synthetic chest patients: one 3-D model, its radiograph, its CT and its report."""
