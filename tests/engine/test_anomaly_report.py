"""The report of an anomaly map: what it says, that it needs nothing else, and what it must not say."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imsave

from genesis3d.anomaly.base import RECIPES, Scene, Scored
from genesis3d.anomaly.calibration import fit_calibration
from genesis3d.networks.model_file import ModelCard
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows import anomaly_report
from genesis3d.workflows.anomaly import AnomalyMap, AnomalySettings
from genesis3d.workflows.anomaly_map import find
from genesis3d.workflows.anomaly_report import report_files, report_html, report_page, report_pdf
from genesis3d.workflows.anomaly_report_page import NOTICE, Facts, Page, Picture, Points, Section, Table, shown
from genesis3d.workflows.anomaly_report_pdf import pdf_of
from genesis3d.workflows.anomaly_report_tables import column_title

SHAPE = (20, 24, 30)
CARD = ModelCard(title="tiny <b>model</b>", network=UNet3d(width=2), limits="knows nothing", licence="CC BY 4.0")


def mapped(threshold: float = 100.0, unit: str | None = "HU", **changes: Any) -> AnomalyMap:
    """A map with an opacity of 4 x 6 x 6 voxels in the left lung."""
    geometry = Geometry(SHAPE, (5.0, 4.0, 4.0), (-7.0, 11.0, 13.0))
    rng = np.random.default_rng(0)
    scan = Volume(rng.normal(-850, 20, (1, *SHAPE)).astype(np.float32), geometry, "CT" if unit else "MR", unit, "case",
                  source="/secret/Doe^John/1970-01-01", series="1.2.3.4")  # fmt: skip
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[3:17, 4:20, 3:13], lungs[3:17, 4:20, 17:27] = 2, 1
    score = np.where(lungs > 0, 10, 0).astype(np.float32)
    score[8:12, 8:14, 20:26] = 250
    scan.data[0, 8:12, 8:14, 20:26] += 250
    marked = scan.with_data(lungs, unit=None, modality=None)
    scored = scan.with_data(score, name="case score")
    labels, regions = find(scored, threshold, marked, scan, scored)
    values = {"scan": scan, "restored": scan.with_data(scan.data - score), "difference": scored, "score": scored,
              "lungs": marked, "labels": labels, "regions": regions, "threshold": threshold, "card": CARD,
              "settings": AnomalySettings(device="cpu"), "lungs_from": "auto", "seconds": 1.0, "probability": None,
              "warnings": ("The left lung <found> is small.",), "device": "cpu", "precision": "32", "z": None,
              "recipe": RECIPES.parse("difference"), "baseline": scored if unit else None, "calibration": None,
              "scene": Scene(scan, marked), "scored": Scored(scored)}  # fmt: skip
    return AnomalyMap(**(values | changes))


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html() -> str:
    return report_html(mapped())


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of one pixel, where pictures are not what is tested."""
    content = io.BytesIO()
    imsave(content, np.zeros((1, 1, 3)), format="png")
    for name in ("largest_picture", "axial_picture"):
        monkeypatch.setattr(anomaly_report, name, lambda result: content.getvalue())


def test_it_needs_nothing_else_and_runs_nothing(html: str) -> None:
    reader = Reader()
    reader.feed(html)
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    sources = [attrs[name] for _, attrs in reader.tags for name in ("src", "href", "srcset") if name in attrs]
    assert len(sources) == 2
    for source in sources:
        kind, _, data = str(source).partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True)[:8] == b"\x89PNG\r\n\x1a\n"
    assert "url(" not in html
    assert "@import" not in html


def test_it_is_not_for_clinical_use_at_both_ends(html: str) -> None:
    reader = Reader()
    reader.feed(html)
    words = reader.text.replace("\n", " ").strip()
    assert reader.text.count("Not for clinical use") == 2
    assert words.endswith(NOTICE)
    assert words.index(NOTICE) < words.index("flagged share of the lungs")


def test_it_says_what_was_found_by_what_and_what_was_left_out(html: str) -> None:
    result = mapped()
    reader = Reader()
    reader.feed(html)
    volume = 4 * 6 * 6 * 0.08
    share = 100 * volume / ((result.lungs.data > 0).sum() * 0.08)
    for said in (shown(share, "%"), shown(volume, "mL"), "100 HU", "The left lung <found> is small.",
                 "tiny <b>model</b>", "knows nothing", "CC BY 4.0", "outside the lung mask", "no calibration",
                 "30 x 24 x 20 voxels", "torch", "overlap", "peak (HU)", "left, middle", "\u2212750 to \u2212400",
                 "density alone"):  # fmt: skip
        assert said in reader.text, said
    assert "b" not in {tag for tag, _ in reader.tags}


def test_it_names_no_patient_no_path_no_series_and_is_the_same_again(html: str, plain: None) -> None:
    files = report_files(mapped())
    for content in (html.encode(), *files.values()):
        assert b"secret" not in content
        assert b"Doe^John" not in content
        assert b"1.2.3.4" not in content
    assert b"CreationDate" not in files["report.pdf"]
    assert report_pdf(mapped()) == files["report.pdf"]
    assert report_html(mapped()).encode() == files["report.html"]


def test_without_a_region_and_without_hounsfield_units() -> None:
    page = report_page(mapped(threshold=900.0, unit=None))
    assert "Regions" not in [section.title for section in page.sections]
    assert any("no region was found" in item.caption for section in page.sections for item in section.items
               if isinstance(item, Picture))  # fmt: skip
    assert ("threshold of the score", "900") in page.sections[0].items[0].pairs  # type: ignore[union-attr]


def test_what_is_known_of_healthy_lungs_is_said_and_what_is_missing_left_out(plain: None) -> None:
    healthy = mapped()
    rng = np.random.default_rng(1)
    noise = np.where(healthy.lungs.data[0] > 0, rng.normal(20, 10, SHAPE), 0).astype(np.float32)
    calibration = fit_calibration([(healthy.scene, Scored(healthy.score.with_data(noise)))], "difference")
    page = report_page(replace(healthy, calibration=calibration))
    headline = dict(page.sections[0].items[0].pairs)  # type: ignore[union-attr]
    assert headline["of healthy lung flagged there"] == shown(100 * calibration.flag_rate(100.0, healthy.scene), "%")
    assert headline["p, among healthy scans"] == "0.50"
    texts = [text for section in page.sections for item in section.items if isinstance(item, Points)
             for text in item.sentences]  # fmt: skip
    assert any("one healthy scan only" in text for text in texts)
    assert not any("no calibration" in text for text in texts)
    bare = replace(healthy, card=None, restored=None, difference=None, recipe=RECIPES.parse("hu"))
    page = report_page(bare)
    assert ("model", "none: the density of the lungs alone") in page.sections[-3].items[0].pairs  # type: ignore[union-attr]
    table = next(item for section in page.sections for item in section.items if isinstance(item, Table))
    assert "diff. (HU)" not in table.header


def test_many_regions_are_cut_with_a_word(plain: None) -> None:
    result = mapped()
    spots = np.zeros(SHAPE, np.int32)
    spots[4:16:3, 5:19:3, 4:12:2] = np.arange(1, 81).reshape(4, 5, 4)
    page = report_page(replace(result, labels=result.labels.with_data(spots)))
    table = next(item for section in page.sections for item in section.items if isinstance(item, Table))
    assert len(table.rows) == 25
    assert "of 80" in table.note


def test_a_pdf_turns_pages_and_keeps_the_notice_on_each() -> None:
    table = Table(("a", "b"), tuple((str(n), str(n)) for n in range(150)), "a note")
    content = io.BytesIO()
    imsave(content, np.zeros((1480, 1110, 3)), format="png")
    picture = Picture(content.getvalue(), "a picture as high as the page")
    points = Points(tuple("word " * 60 for _ in range(12)), warning=True)
    page = Page("T", "about", (Section("one", (points, table)), Section("two", (picture, Facts((("a", "b"),))))))
    made = pdf_of(page)
    assert made.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", made)) == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.034, "0.03"), (1.234, "1.23"), (45.67, "45.7"), (3812.4, "3812"), (-158.2, "\u2212158"), (None, "-"),
     (float("nan"), "-"), (0.0, "0.00")],
)  # fmt: skip
def test_numbers_for_people(value: float | None, text: str) -> None:
    assert shown(value) == text


def test_titles_of_columns() -> None:
    assert column_title("share_of_lungs_percent") == "share of lungs (%)"
    assert column_title("mean_hu") == "mean (HU)"
    assert column_title("mean_z") == "mean z"
    with pytest.raises(TypeError, match="expected a part of a report"):
        pdf_of(Page("T", "", (Section("s", ("text",)),)))  # type: ignore[arg-type]
