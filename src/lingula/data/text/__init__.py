"""Report text: sections, sentences, negation, labels, duplicates, and the views of it that training sees."""
