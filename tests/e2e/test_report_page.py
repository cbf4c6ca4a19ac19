"""The demo's page in a real Chromium: what it shows, at which width, in light and in dark, and that it asks nobody."""

from __future__ import annotations

import html
import http.server
import json
import os
import re
import shutil
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageColor

from tests.support.report_samples import earning, hostile, sample
from zkmarket.demo.report import write_report

pytestmark = pytest.mark.e2e

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
SECONDS = 120
PHONE, DESKTOP = 360, 1280
HEIGHT = 3000
View = tuple[int, str]
VIEWS = tuple((width, scheme) for scheme in ("light", "dark") for width in (PHONE, DESKTOP))
PAGES = {
    "usual": sample(),
    "earning": earning(),
    "empty": sample(rounds=0),
    "many": sample(trainers=16, rounds=12, attackers=(3, 4)),
    "hostile": hostile("</text></style><script>document.title = 'run'</script>" + "m" * 300),
}
PLOTS = {"usual": 4, "earning": 4, "empty": 3, "many": 4, "hostile": 4}
LINES = ("first", "second", "third")
MEASURE = """
let inner;
const sized = box => ({x: box.x, y: box.y, width: box.width, height: box.height});
const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = rgb => rgb.slice(0, 3).map(c => c / 255)
  .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = element => {
  for (let e = element; e; e = e.parentElement) {
    const rgb = channels(inner.getComputedStyle(e).backgroundColor);
    if (rgb.length === 3 || rgb[3] === 1) return rgb;
  }
  return [255, 255, 255];
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const measured = frame => {
  inner = frame.contentWindow;
  const page = inner.document, root = page.documentElement, style = inner.getComputedStyle(root);
  const words = [...page.body.querySelectorAll("*")].filter(e => [...e.childNodes]
    .some(n => n.nodeType === 3 && n.data.trim()));
  const scale = svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return {
    title: page.title, width: root.clientWidth, content: root.scrollWidth,
    dark: inner.matchMedia("(prefers-color-scheme: dark)").matches,
    ground: ground(page.body),
    colours: Object.fromEntries(["first", "second", "third", "attack"].map(n => [n, style.getPropertyValue("--" + n)])),
    plots: [...page.querySelectorAll("svg")].map(svg => sized(svg.getBoundingClientRect())),
    escaped: [...page.querySelectorAll("svg")].flatMap(svg => [...svg.querySelectorAll("text")]
      .filter(t => { const a = t.getBoundingClientRect(), b = svg.getBoundingClientRect();
        return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1; })
      .map(t => t.textContent)),
    smallest: Math.min(...words.map(e => parseFloat(inner.getComputedStyle(e).fontSize)
      * (e.ownerSVGElement ? scale(e.ownerSVGElement) : 1))),
    faint: words.filter(e => { const s = inner.getComputedStyle(e);
      return contrast(channels(e.ownerSVGElement ? s.fill : s.color), ground(e)) < 4.5; })
      .map(e => e.textContent.trim()),
    words: words.length,
    scripts: page.scripts.length,
  };
};
window.onload = () => {
  document.querySelector("pre").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measured));
};
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        reason = "no chromium on this machine: install Debian's package of this name"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Requests(socketserver.ThreadingTCPServer):
    """A proxy that refuses everything and remembers whom it was asked for.

    Chromium's own questions to its maker are left out: no page here names a host of Google's.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(_Refusing, self.lines))

    @property
    def flags(self) -> tuple[str, str]:
        """With them every request has to go through the proxy, also one to this machine."""
        return f"--proxy-server=http://127.0.0.1:{self.server_address[1]}", "--proxy-bypass-list=<-loopback>"

    @property
    def hosts(self) -> list[str]:
        targets = [line.split()[1] for line in self.lines]
        found = {urlsplit(target if "//" in target else f"//{target}").hostname or target for target in targets}
        return sorted(host for host in found if not re.search(r"(^|\.)(google|googleapis|gstatic|gvt1)\.com$", host))


class _Refusing(socketserver.StreamRequestHandler):
    def __init__(self, lines: list[str], *rest: Any):
        self.lines = lines
        super().__init__(*rest)

    def handle(self) -> None:
        self.lines.append(self.rfile.readline(4096).decode(errors="replace").strip())
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def proxy() -> Iterator[Requests]:
    with Requests() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the pages, and its address on a server of the test's own: a file's frame may not be looked into."""
    folder = tmp_path_factory.mktemp("site")
    for name, result in PAGES.items():
        write_report(result, folder / f"{name}.html")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


def browse(chromium: str, url: str, *flags: str) -> str:
    """Chromium's answer on stdout. Every start has a profile of its own."""
    with tempfile.TemporaryDirectory(prefix="zkmarket-chromium-", ignore_cleanup_errors=True) as profile:
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", *flags, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def framed(site: tuple[Path, str], name: str, *views: View) -> str:
    """The address of a page that shows the report in a frame for each view, and what a script measures of them.

    Chromium's own window is never as narrow as a phone.
    """
    folder, address = site
    frames = "".join(
        f'<iframe src="{name}.html" style="border: 0; display: block; width: {width}px; height: {HEIGHT}px;'
        f' color-scheme: {scheme}"></iframe>'
        for width, scheme in views
    )
    wrapper = f"framed-{name}-{'-'.join(f'{width}-{scheme}' for width, scheme in views)}.html"
    (folder / wrapper).write_text(
        f'<!doctype html><body style="margin: 0">{frames}<pre hidden></pre><script>{MEASURE}</script>'
    )
    return f"{address}/{wrapper}"


def measure(chromium: str, site: tuple[Path, str], name: str, *views: View) -> dict[View, dict[str, Any]]:
    dom = browse(chromium, framed(site, name, *views), "--dump-dom")
    (found,) = re.findall(r"<pre[^>]*>(\[.*\])</pre>", dom)
    return dict(zip(views, json.loads(html.unescape(found)), strict=True))


def picture(chromium: str, url: str, path: Path, width: int, height: int) -> Image.Image:
    browse(chromium, url, f"--window-size={width},{height}", f"--screenshot={path}")
    with Image.open(path) as image:
        return image.convert("RGB")


def colours(image: Image.Image) -> dict[tuple[int, int, int], int]:
    return {rgb: number for number, rgb in image.getcolors(image.width * image.height)}


def near(found: dict[tuple[int, int, int], int], rgb: tuple[int, int, int], reach: int = 28) -> int:
    """How many pixels have about this colour: a thin line is nowhere painted pure."""
    return sum(
        number for seen, number in found.items() if max(abs(a - b) for a, b in zip(seen, rgb, strict=True)) <= reach
    )


# ---------------------------------------------------------------- from a file, asking nobody


def test_the_file_opens_and_nothing_is_asked_of_anyone(
    chromium: str, site: tuple[Path, str], proxy: Requests, tmp_path: Path
) -> None:
    dom = browse(chromium, (site[0] / "usual.html").as_uri(), *proxy.flags, "--dump-dom")
    for section in ("plots", "trainers", "rounds", "money", "undefeated", "check"):
        assert f'<section id="{section}">' in dom
    assert dom.count("<svg ") == 4 and "zkmarket auditor verify" in dom
    assert proxy.hosts == [] and "google" not in dom
    leaky = tmp_path / "leaky.html"  # the proxy does see what a page asks for
    leaky.write_text('<img src="http://leak.invalid/a.png"><img src="http://127.0.0.1:8009/b.png">')
    browse(chromium, leaky.as_uri(), *proxy.flags, "--dump-dom")
    assert proxy.hosts == ["127.0.0.1", "leak.invalid"]


def test_a_leak_is_stopped_by_the_pages_own_policy(
    chromium: str, site: tuple[Path, str], proxy: Requests, tmp_path: Path
) -> None:
    """Should markup ever get into the page, it loads nothing and runs nothing."""
    leak = '<img src="http://leak.invalid/a.png"><script>document.title = "run"</script>'
    leaky = tmp_path / "leaky.html"
    leaky.write_text((site[0] / "usual.html").read_text().replace("</main>", f"{leak}</main>"))
    dom = browse(chromium, leaky.as_uri(), *proxy.flags, "--dump-dom")
    assert "leak.invalid" in dom and "<title>run" not in dom
    assert proxy.hosts == []


# ---------------------------------------------------------------- measured and looked at


@pytest.fixture(scope="module")
def seen(chromium: str, site: tuple[Path, str]) -> dict[str, dict[View, dict[str, Any]]]:
    """What is measured of each page in each view."""
    return {name: measure(chromium, site, name, *VIEWS) for name in PAGES}


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("name", PAGES)
def test_it_can_be_read(seen: dict[str, dict[View, dict[str, Any]]], name: str, view: View) -> None:
    found, (width, scheme) = seen[name][view], view
    assert (found["title"], found["scripts"]) == ("zkmarket: a market's report", 0)
    assert found["width"] == width
    assert found["content"] <= width, "the page is wider than its window"
    assert found["dark"] == (scheme == "dark") == (max(found["ground"]) < 64)
    assert len(found["plots"]) == PLOTS[name]
    for plot in found["plots"]:
        assert plot["width"] > 280 and plot["height"] > 100
    assert found["escaped"] == [], "text of a plot beyond its edge"
    assert found["smallest"] > 10
    assert found["words"] > 100
    assert found["faint"] == []


def test_the_measure_sees_what_is_bad(chromium: str, site: tuple[Path, str]) -> None:
    """The same page, spoilt: too wide, too faint, too small, with a plot's text beyond its edge."""
    spoilt = (site[0] / "usual.html").read_text()
    spoilt = spoilt.replace("</style>", "h1 { width: 900px; color: #999; } footer p { font-size: 8px; }</style>", 1)
    spoilt = spoilt.replace("</svg>", '<text x="320" y="20">beyond</text></svg>', 1)
    (site[0] / "spoilt.html").write_text(spoilt)
    view = (PHONE, "light")
    seen = measure(chromium, site, "spoilt", view)[view]
    assert seen["content"] > seen["width"]
    assert seen["faint"] == ["A proven market: digits (1,797 scans of 8 × 8 pixels)"]
    assert seen["smallest"] == 8
    assert seen["escaped"] == ["beyond"]


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_its_plots_are_painted(
    chromium: str, site: tuple[Path, str], seen: dict[str, dict[View, dict[str, Any]]], view: View, tmp_path: Path
) -> None:
    """In the picture, where each plot is, there are the colours of its lines and bars."""
    found, (width, _) = seen["earning"][view], view
    image = picture(chromium, framed(site, "earning", view), tmp_path / "page.png", max(width, 600), HEIGHT)
    painted = []
    for box in found["plots"]:
        x, y, wide, high = (round(box[key]) for key in ("x", "y", "width", "height"))
        painted.append(colours(image.crop((x, y, x + wide, y + high))))
    ink = {name: ImageColor.getrgb(colour.strip()) for name, colour in found["colours"].items()}
    accuracy, paid, gas, seconds = painted
    for line in LINES:
        assert near(accuracy, ink[line]) > 100, line
    assert near(paid, ink["first"]) > 1000 and near(paid, ink["attack"]) > 40
    for plot in (accuracy, gas, seconds):
        assert near(plot, ink["first"]) > 100 and near(plot, ink["attack"]) == 0
    assert image.getpixel((2, HEIGHT - 2)) == tuple(found["ground"])
    top = image.crop((0, 0, width, 300))
    assert len(colours(top)) > 50 and max(colours(top).values()) < 0.95 * top.width * top.height


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_from_a_file_it_is_painted_as_well(chromium: str, site: tuple[Path, str], scheme: str, tmp_path: Path) -> None:
    """Without a frame, and with the scheme that the browser itself prefers."""
    flags = [] if scheme == "light" else ["--blink-settings=preferredColorScheme=0"]
    path = tmp_path / "page.png"
    browse(chromium, (site[0] / "usual.html").as_uri(), *flags, "--window-size=1280,900", f"--screenshot={path}")
    with Image.open(path) as image:
        found = colours(image.convert("RGB"))
    ground = max(found, key=found.get)
    assert (max(ground) < 64) == (scheme == "dark")
    assert len(found) > 100
