from __future__ import annotations

from lingula.data.text.duplicates import Duplicates, count_duplicates, template_key


def test_exact_and_template_repeats() -> None:
    texts = ["No effusion. Heart normal.", "No  effusion.\nHeart normal.", "HEART NORMAL. No effusion!", "No effusion.", " "]
    assert count_duplicates(texts) == Duplicates(texts=4, exact=1, near=2, most_frequent=3)
    assert count_duplicates([]) == Duplicates(0, 0, 0, 0)


def test_a_template_keeps_its_words_but_not_its_numbers() -> None:
    assert template_key("Nodule of 1.5 cm.") == template_key("Nodule of 12 cm.") != template_key("Nodule of 12 mm.")
    assert template_key("No effusion. Scar.") != template_key("Effusion. No scar.")
