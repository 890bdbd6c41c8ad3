from __future__ import annotations

from basetrainer.datasets.report import BadFile, Copy, PartReport, Report


def part(name: str, counts: dict[str, int], **changes) -> PartReport:
    fields = {
        "name": name,
        "sources": (f"data/{name}",),
        "num_images": sum(counts.values()),
        "class_counts": counts,
        "sizes": {(32, 24): sum(counts.values())},
        "missing": (),
        "broken": (),
    }
    return PartReport(**{**fields, **changes})


def test_the_text_of_clean_data():
    assert Report((part("train", {"cat": 1500, "dog": 500}),), ()).text() == (
        "train: 2,000 images in 2 classes, from data/train\n"
        "  class     images    share\n"
        "  cat        1,500    75.0%\n"
        "  dog          500    25.0%\n"
        "  width 32 to 32, height 24 to 24 pixels; most often 32x24 (2,000)\n"
        "\n"
        "no fault found"
    )


def test_the_text_of_faulty_data():
    bad = BadFile("a.png", "list.txt, line 3", "a.png: the file is empty.")
    copies = (Copy("train", "b.png", "cat"), Copy("test", "c.png", "dog"))
    report = Report(
        (part("train", {"cat": 1}, broken=(bad,), sizes={}), part("test", {"cat": 1})), (copies,)
    )
    assert report.text().splitlines() == [
        "train: 1 image in 1 class, from data/train",
        "  class     images    share",
        "  cat            1   100.0%",
        "  broken: 1 file",
        "    list.txt, line 3: a.png: the file is empty.",
        "",
        "test: 1 image in 1 class, from data/test",
        "  class     images    share",
        "  cat            1   100.0%",
        "  width 32 to 32, height 24 to 24 pixels; most often 32x24 (1)",
        "",
        "1 image in several copies",
        "  train b.png [cat] = test c.png [dog] (in train and test, labels differ)",
        "",
        "3 kinds of fault:",
        "  train: 1 file broken",
        "  1 image both in train and test",
        "  1 image under different labels",
    ]


def test_long_lists_are_cut_in_the_text_and_whole_in_the_data():
    bad = tuple(BadFile(f"{n}.png", "x", f"{n}.png: missing.") for n in range(30))
    counts = {f"class{n}": n + 1 for n in range(60)}
    text = Report((part("train", counts, missing=bad),), ()).text()
    assert "... and 10 more" in text
    assert "(the ten largest and the ten smallest of 60)" in text
    assert "class59" in text
    assert "class30" not in text


def test_copies_within_a_class_are_told_but_are_no_fault():
    copies = (Copy("train", "a.png", "cat"), Copy("train", "b.png", "cat"))
    report = Report((part("train", {"cat": 2}),), (copies,))
    assert report.ok
    assert "train a.png [cat] = train b.png [cat]\n" in report.text()
