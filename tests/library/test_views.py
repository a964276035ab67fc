"""What a scope lets through: prefixes, and views with what they allow and deny."""

import os
from pathlib import Path
from typing import Any

import pytest

from library.conftest import Policy
from research_shared.access import beneath
from research_shared.access.opener import Opener
from research_shared.access.roots import Root, Scope, current_scope, narrowed_scope
from research_shared.access.scope import View
from research_shared.documents import DocumentInfo, Identity
from research_shared.errors import DocumentNotFound
from research_shared.faults import Faults


@pytest.mark.parametrize(
    ("allow", "deny", "path", "expected"),
    [
        (("**",), (), "a/b.md", True),
        ((), (), "a/b.md", False),
        (("a/**", "b/**"), (), "b/c.md", True),
        (("a/**", "b/**"), (), "c/c.md", False),
        (("**",), ("a/**", "b/**"), "b/c.md", False),
        (("**",), ("a/**", "b/**"), "c/c.md", True),
        (("A/**",), (), "a/b.md", False),
        (("**",), ("A/**",), "a/b.md", False),
        (("a*",), (), "x/a.md", False),
        (("a/**",), ("a/b/**",), "a/b.md", True),
        (("**",), ("**/draft*",), "reports/drafts/a.md", False),
        (("**",), ("clients/acme*",), "clients/acme-gmbh/x/y.md", False),
        (("**",), ("hr/*",), "hr/sub/x.md", False),
        (("**",), ("hr/*",), "hr.md", True),
        (("**",), ("hr",), "hr/sub/x.md", False),
    ],
)
def test_a_view_admits_what_is_allowed_and_not_denied(
    allow: tuple[str, ...], deny: tuple[str, ...], path: str, *, expected: bool
) -> None:
    assert View(allow=allow, deny=deny).admits(path) is expected


@pytest.mark.parametrize(
    ("allow", "deny", "directory", "expected"),
    [
        (("**",), (), "a", True),
        (("a/b/*.md",), (), "a", True),
        (("a/b/*.md",), (), "a/b", True),
        (("a/b/*.md",), (), "a/b/c", True),
        (("a/b/*.md",), (), "a/c", False),
        (("a/b/*.md",), (), "ab", False),
        (("ab/*.md",), (), "a", False),
        (("x/**", "a/**"), (), "a", True),
        (("**",), ("a/**",), "a", False),
        (("**",), ("A/**",), "a", False),
        (("**",), ("a/**",), "a/b/c", False),
        (("**",), ("a/**", "b/**"), "b", False),
        (("**",), ("a/b/**",), "a", True),
        (("**",), ("a/b/**",), "a/b/c", False),
        (("**",), ("a/*.md",), "a", True),
        ((), (), "a", False),
    ],
)
def test_a_view_leads_to_directories_beneath_which_it_may_admit_something(
    allow: tuple[str, ...], deny: tuple[str, ...], directory: str, *, expected: bool
) -> None:
    assert View(allow=allow, deny=deny).leads_to(directory) is expected


def test_a_scope_admits_and_leads_to_what_its_prefixes_and_all_its_views_do() -> None:
    scope = Scope(("a", "b/c"), (View(allow=("**",), deny=("a/x/**",)), View(allow=("a/**", "b/**"))))
    admitted = ["a/1.md", "b/c/1.md"]
    assert [path for path in (*admitted, "a/x/1.md", "b/1.md", "c/1.md") if scope.admits(path)] == admitted
    led = ["a", "a/y", "b", "b/c", "b/c/d"]
    assert [path for path in (*led, "a/x", "b/d", "c") if scope.leads_to(path)] == led
    assert Scope(("a",), (View(allow=("a/b.md",)),)).leads_to("a")
    assert not Scope(("a",), (View(allow=("b/**",)),)).leads_to("a")


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("a/x.md", "", True),
        ("b/x.md", "", False),
        ("a/x.md", "a/y.md", True),
        ("a/x.md", "b/y.md", False),
        ("b/x.md", "a/y.md", False),
    ],
)
def test_a_scope_shows_a_document_and_what_it_leads_to(path: str, target: str, *, expected: bool) -> None:
    info = DocumentInfo(
        path=path, root="r", media_type="text/plain", identity=Identity(0, 0, 0, 0, 0), target=target
    )
    assert Scope(("a",)).shows(info) is expected


def test_scopes_that_narrow_each_other_keep_the_smaller_prefixes_and_all_views() -> None:
    first, second = View(allow=("a/**",)), View(allow=("**",), deny=("b/**",))
    both = Scope(("", "x"), (first,)).narrowed(Scope(("b", "a/c"), (second, first)))
    assert both == Scope(("a/c", "b"), (second, first))
    assert both.to_json() == {
        "prefixes": ["a/c", "b"],
        "views": [{"allow": ["**"], "deny": ["b/**"]}, {"allow": ["a/**"], "deny": []}],
    }
    assert Scope(("a", "b")).to_json() == ["a", "b"]


@pytest.mark.parametrize(
    "odd",
    [
        {"prefixes": [""], "views": [{"allow": ["**"], "deny": [1]}]},
        {"prefixes": [""], "views": [{"allow": ["**"], "deny": ["x" * 2_000]}]},
        {"prefixes": [""], "views": [{"allow": ["**"], "deny": []}, {"allow": ["**"]}]},
        {"prefixes": ["", 1], "views": []},
        {"prefixes": [""], "views": {}},
        {"prefixes": "", "views": []},
        "",
        ["", 1],
    ],
)
def test_a_scope_with_anything_odd_in_it_admits_nothing(odd: Any) -> None:
    assert Scope.from_json(odd) == Scope(())


def test_a_scope_is_read_in_order_and_narrows_only_its_block() -> None:
    assert Scope.from_json(["b", "a"]) == Scope(("a", "b"))
    before = current_scope()
    with narrowed_scope(Scope(("a",))):
        assert current_scope() == Scope(("a",))
    assert current_scope() == before


@pytest.mark.parametrize("view", [View(allow=("**",), deny=("secret.md",)), View(allow=("l*.md",))])
def test_a_link_to_what_a_view_denies_is_no_document_and_leaves_nothing_open(
    policy: Policy, folder: Path, view: View
) -> None:
    (folder / "secret.md").write_text("secret")
    (folder / "link.md").symlink_to("secret.md")
    doors = policy()
    descriptors = len(list(Path("/dev/fd").iterdir()))
    with narrowed_scope(Scope(("",), (view,))):
        for _ in range(3):
            with pytest.raises(DocumentNotFound):
                doors.open("link.md")
        assert [info.path for info in doors.walk()] == []
    assert len(list(Path("/dev/fd").iterdir())) == descriptors


def test_a_folder_is_walked_in_whatever_unicode_form_its_name_is_stored() -> None:
    view = View(allow=("Vertr\u00e4ge/**",))
    assert view.leads_to("Vertra\u0308ge")
    assert view.admits("Vertra\u0308ge/a.md")
    assert not view.leads_to("Vertrage")


def test_a_document_in_a_linked_folder_changes_for_a_view_that_denies_where_it_is(
    policy: Policy, folder: Path
) -> None:
    (folder / "real").mkdir()
    for name in ("x.md", "y.md"):
        (folder / "real" / name).write_text("text")
    (folder / "linked").symlink_to("real")
    doors = policy()
    documents = [doors.stat("linked/x.md"), doors.stat("linked/y.md")]
    assert doors.changed(documents) == set()
    with narrowed_scope(Scope(("",), (View(allow=("linked/*", "real/y*.md")),))):
        assert doors.changed(documents) == {"linked/x.md"}


@pytest.mark.parametrize("openat2", [True, False])
def test_what_a_link_leads_to_is_not_there_when_no_view_shows_it(folder: Path, openat2: bool) -> None:
    (folder / "secret.md").write_text("secret")
    (folder / "link.md").symlink_to("secret.md")
    opener = Opener([Root("research", folder)], include_hidden=False, openat2=openat2, faults=Faults())
    resolved, parts = opener.locate("link.md")
    root = opener.open_root(resolved)
    try:
        with (
            narrowed_scope(Scope(("",), (View(allow=("l*.md",)),))),
            pytest.raises(FileNotFoundError),
        ):
            opener.open_target(resolved, root, parts, beneath.FILE)
    finally:
        os.close(root)
