"""Who may see the page, and who may change what runs."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from trainonce.report.live.guard import Access, Guard, is_loopback

ORIGIN = "http://127.0.0.1:8765"


def client(access: Access, address: str = ORIGIN) -> TestClient:
    async def seen(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("seen")

    app = Starlette(
        routes=[Route("/{path:path}", seen, methods=["GET", "POST", "DELETE"])],
        middleware=[Middleware(Guard, access=access, policy="default-src 'none'")],
    )
    return TestClient(app, base_url=address, follow_redirects=False)


def own(access: Access, **headers: str) -> dict[str, str]:
    return {"Origin": ORIGIN, "X-TrainOnce-Token": access.token, **headers}


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "127.0.0.2"])
def test_loopback_has_these_names(host: str) -> None:
    assert client(Access()).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "localhost.evil.example",
        "",
        "[",
        "a@b",
    ],
)
def test_a_name_that_is_not_ours_is_refused(host: str) -> None:
    """A page whose name was pointed at this machine sends its own name."""
    found = client(Access()).get("/", headers={"Host": host})
    assert found.status_code == 421
    assert "seen" not in found.text


def test_an_address_for_others_goes_by_numbers_and_its_own_name() -> None:
    access = Access(host="lab.example", closed=True)
    seen = client(access)
    token = {"X-TrainOnce-Token": access.token}
    for host, code in (("lab.example:1", 200), ("10.0.0.1", 200), ("evil.example", 421)):
        assert seen.get("/", headers={"Host": host, **token}).status_code == code


def test_a_change_needs_token_and_own_page() -> None:
    access = Access()
    seen = client(access)
    assert seen.post("/stop", headers=own(access)).status_code == 200
    without = {key: value for key, value in own(access).items() if key != "Origin"}
    assert seen.post("/stop", headers={**without, "Sec-Fetch-Site": "same-origin"}).is_success
    for headers in (
        {},
        without,
        {"Origin": ORIGIN},
        own(access, **{"X-TrainOnce-Token": access.token + "x"}),
        own(access, **{"X-TrainOnce-Token": ""}),
        own(access, Origin="http://evil.example"),
        own(access, Origin="null"),
        own(access, Origin="http://127.0.0.1:9999"),
        own(access, **{"Sec-Fetch-Site": "cross-site"}),
        own(access, **{"Sec-Fetch-Site": "same-site"}),
    ):
        for method in ("POST", "DELETE"):
            found = seen.request(method, "/stop", headers=headers)
            assert found.status_code == 403, headers
            assert "seen" not in found.text


def test_a_cookie_alone_changes_nothing() -> None:
    access = Access(closed=True)
    seen = client(access)
    seen.get("/", params={"token": access.token})
    assert seen.get("/").text == "seen"
    assert seen.post("/stop", headers={"Origin": ORIGIN}).status_code == 403


def test_a_closed_page_is_opened_by_the_address_that_was_printed() -> None:
    access = Access(host="0.0.0.0", closed=True)
    seen = client(access)
    for path in ("/", "/static/live.js", "/?token=wrong", "/?token=", "/?token=%C3%A9"):
        found = seen.get(path)
        assert found.status_code == 401
        assert "seen" not in found.text
    found = seen.get("/studies", params={"token": access.token, "x": "1"})
    assert (found.status_code, found.headers["location"]) == (303, "/studies?x=1")
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert seen.get("/").text == "seen"
    other = TestClient(seen.app, base_url=ORIGIN, cookies={"trainonce-8765": "wrong"})
    assert other.get("/").status_code == 401


def test_the_way_in_leads_to_no_other_server() -> None:
    access = Access(closed=True)
    found = client(access).get(f"{ORIGIN}//evil.example/", params={"token": access.token})
    assert found.headers["location"] == "/evil.example/"


def test_every_answer_is_strict() -> None:
    seen = client(Access(closed=True))
    for found in (seen.get("/"), seen.get("/", headers={"Host": "evil.example"}), seen.post("/")):
        assert found.headers["content-security-policy"] == "default-src 'none'"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"


def test_two_servers_have_two_tokens() -> None:
    assert Access().token != Access().token
    assert len(Access().token) >= 43


@pytest.mark.parametrize(
    ("name", "local"),
    [("localhost", True), ("127.3.2.1", True), ("::1", True), ("0.0.0.0", False), ("lab", False)],
)
def test_what_loopback_is(name: str, local: bool) -> None:
    assert is_loopback(name) is local
