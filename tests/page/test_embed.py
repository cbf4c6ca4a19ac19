"""How the page's script and what it is given stand in a document."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path

import pytest

from zkmarket.errors import ArtifactError
from zkmarket.page import Replay, csp, embed, script

pytestmark = pytest.mark.unit

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 é"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "replay.js"
    path.write_text("run()")
    monkeypatch.setattr(embed, "SCRIPT", path)
    return path


def test_a_recording_is_deflated_json_without_markup():
    text = Replay({"cid": HOSTILE}, {}).packed_recording()
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    assert json.loads(zlib.decompress(base64.b64decode(text))) == {"cid": HOSTILE}


def test_what_the_page_knows_ends_no_element():
    text = Replay({}, {"version": HOSTILE}).known_json()
    assert "<" not in text and text.isascii()
    assert json.loads(text) == {"version": HOSTILE}


def test_the_policy_names_this_script_and_no_other(built: Path):
    digest = base64.b64encode(hashlib.sha256(b"run()").digest()).decode()
    assert csp(script()) == f"script-src 'sha256-{digest}' blob:; worker-src blob:"


def test_a_script_that_is_not_built_is_said_to_be(built: Path):
    built.unlink()
    with pytest.raises(ArtifactError, match="not built: run `make page`, which needs Node.js"):
        script()


@pytest.mark.parametrize("text", ["a('</SCRIPT>')", "x <!-- y"])
def test_a_script_that_would_end_its_element_is_refused(built: Path, text: str):
    built.write_text(text)
    with pytest.raises(ArtifactError, match="it ends its own element"):
        script()
