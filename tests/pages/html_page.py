"""A page as a reader of its tags finds it."""

import base64
import itertools
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """tags: (name, attributes) in order. text: all that is no tag and no style. cells: of each table row its texts."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.text, self.cells, self.open = [], "", [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
            if self.open[-1] in ("td", "th"):
                self.cells[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self):
        """(alt, (H, W, 3) BGR) of each."""
        found = []
        for image in self.all("img"):
            head, data = image["src"].split(",")
            assert head == "data:image/jpeg;base64"
            found.append(
                (image["alt"], cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR))
            )
        return found

    def check(self):
        """It loads nothing, needs no script, and can be read by people who do not see it, or use no mouse."""
        assert not {"script", "link", "iframe", "object", "embed", "base"} & {name for name, _ in self.tags}
        ids = {attributes["id"] for _, attributes in self.tags if "id" in attributes}
        for name, attributes in self.tags:
            assert not any(key.startswith("on") for key in attributes), (name, attributes)
            for key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                value = attributes.get(key, "data:")
                assert value.startswith("data:image/jpeg;base64,") or value == "data:" or value[1:] in ids, value
        (style,) = [part.split("</style>")[0] for part in self.source.split("<style>")[1:]]
        assert "url(" not in style
        assert "@import" not in style
        assert "prefers-color-scheme" in style
        levels = [int(name[1]) for name, _ in self.tags if name in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later <= level + 1 for level, later in itertools.pairwise(levels)), levels
        assert all(image["alt"] for image in self.all("img"))
        assert all("aria-label" in svg or "aria-hidden" in svg for svg in self.all("svg"))
        assert all(image is not None for _, image in self.pictures())
        assert self.all("html")[0]["lang"] == "en"
        return self
