"""The page on which a surface turns: what it holds, and in a real browser that it draws, turns and answers."""

import base64
import re
import sys

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from pictured import plane, with_run

from landscape.errors import BadInput
from landscape.plots import plot

pytest.importorskip("plotly", reason="the page needs plotly")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a.html"
    plot(plane(), path, kind="surface", title="A plane of its own")
    return path


def test_the_page_holds_all_it_needs(page):
    text = page.read_text(encoding="utf-8")
    assert "A plane of its own" in text
    # Nothing is loaded: scripts stand in the page, no sheet or frame is named.
    assert not re.search(r"<(script|img|iframe|link)[^>]+(src|href)\s*=\s*[\"']?https?:", text)
    assert "plotly.js v" in text


def test_a_run_and_the_point_stand_on_the_surface(monkeypatch):
    go = pytest.importorskip("plotly.graph_objects")
    from landscape.plots import interactive

    made = []
    monkeypatch.setattr(go.Figure, "to_html", lambda figure, **options: made.append(figure) or "")
    result = with_run()
    interactive.page_of(result)
    _, run, star = made[0].data
    parts = result.trajectory_alpha, result.trajectory_beta, result.trajectory_loss
    for name, values in zip("xyz", parts, strict=True):
        np.testing.assert_array_equal(run[name], values)
    assert (star.x[0], star.y[0], star.z[0], star.text[0]) == (0, 0, result.centre_loss, "θ*")


def test_heights_are_logarithms_where_asked_and_hovering_tells_the_loss(monkeypatch):
    go = pytest.importorskip("plotly.graph_objects")
    from landscape.plots import interactive

    result = plane()
    made = []
    monkeypatch.setattr(go.Figure, "to_html", lambda figure, **options: made.append(figure) or "")
    interactive.page_of(result, log=True)
    surface = made[0].data[0]
    np.testing.assert_allclose(surface.z, np.log10(result.loss), rtol=1e-15)
    assert (
        surface.text[4][1]
        == f"α {result.alpha[1]:.4g}<br>β {result.beta[4]:.4g}<br>loss {result.loss[4, 1]:.6g}"
    )
    np.testing.assert_array_equal(surface.x, result.alpha)
    assert made[0].layout.scene.xaxis.title.text == "step α along the first direction"


def test_without_plotly_one_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(BadInput, match=r"plotly is not installed.*torch-landscape\[html\]"):
        plot(plane(), tmp_path / "a.html")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_a_browser_it_draws_turns_and_answers_and_asks_nobody(page, tmp_path):
    from io import BytesIO

    from matplotlib.image import imread

    browser = Browser(tmp_path / "profile")
    try:
        browser("Page.navigate", url=page.as_uri())
        browser.until("document.querySelector('#landscape canvas') && window.Plotly && true")
        camera = (
            "JSON.stringify(document.getElementById('landscape')._fullLayout.scene._scene.getCamera().eye)"
        )
        before = browser.until(camera)
        # Every pixel of a picture that was not drawn is white.
        browser.until(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
        )
        picture = imread(BytesIO(base64.b64decode(browser("Page.captureScreenshot")["data"])))[..., :3]
        colours = np.unique((picture * 255).astype(int).reshape(-1, 3) // 16, axis=0)
        assert len(colours) > 60
        middle = 400, 380
        browser.evaluate(
            "window.told = null; document.getElementById('landscape').on('plotly_hover', "
            "e => { window.told = [e.points[0].x, e.points[0].y, e.points[0].z] })"
        )
        for x in range(330, 470, 10):
            browser.mouse("mouseMoved", x, middle[1])
            if browser.evaluate("window.told"):
                break
        alpha, beta, loss = browser.until("window.told")
        expected = 0.5 + (alpha - 0.5) ** 2 + beta**2
        assert loss == pytest.approx(expected)
        label = browser.until("document.querySelector('.hovertext')?.textContent")
        assert f"loss {expected:.6g}" in label
        browser.mouse("mousePressed", *middle, pressed=True)
        for step in range(1, 9):
            browser.mouse("mouseMoved", middle[0] + 12 * step, middle[1] + 4 * step, pressed=True)
        browser.mouse("mouseReleased", middle[0] + 96, middle[1] + 32)
        browser.until(f"{camera} != {before!r}")
        assert browser.errors == []
        assert browser.requests
        assert [one for one in browser.requests if not one.startswith(("file:", "blob:", "data:"))] == []
    finally:
        browser.close()
