"""Sources: data sets in their published layouts, one file each."""
