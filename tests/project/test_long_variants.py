"""The long variants run alone (`-m long`): no test that they change may be left out."""

import textwrap

import pytest

from support.variants import TESTS, is_long, varying, varying_in

MODULE = """
    import pytest
    from support.sizes import FULL, examples

    COUNT = 200 if FULL else 10
    CASES = [1, 2]
    CASES.append(COUNT)
    OTHERS = [1, 2]

    def large():
        return "x" * COUNT

    @pytest.fixture
    def folder():
        return large()

    def test_of_a_fixture(folder): ...

    @pytest.mark.usefixtures("folder")
    def test_of_a_fixture_by_name(): ...

    @pytest.mark.parametrize("case", CASES)
    def test_of_cases(case): ...

    @settings(max_examples=examples(100))
    def test_of_examples(): ...

    def test_of_a_size():
        async def within():
            return large()
        assert within

    if FULL:
        def test_of_the_long_variants_only(): ...

    @pytest.mark.parametrize("case", OTHERS)
    def test_of_nothing_that_varies(case, tmp_path): ...

    class TestOthers:
        def test_of_a_class(self): ...
"""


def test_whatever_a_size_reaches_varies_and_nothing_else() -> None:
    found = varying(textwrap.dedent(MODULE), varying_in(TESTS / "support" / "sizes.py"))
    assert {name for name in found if name.startswith("test_")} == {
        "test_of_a_fixture",
        "test_of_a_fixture_by_name",
        "test_of_cases",
        "test_of_examples",
        "test_of_a_size",
        "test_of_the_long_variants_only",
    }
    assert {"COUNT", "CASES", "large", "folder"} <= found
    assert found.isdisjoint({"OTHERS", "TestOthers"})


@pytest.mark.parametrize(
    ("file", "test", "expected"),
    [
        ("search/test_query.py", "test_nothing_that_is_typed_fails", True),
        ("search/test_query.py", "test_the_limits_are_told", False),
        # A hook of the folder's conftest.py chooses among the tests, whatever they are called.
        ("attacks/test_cancelling.py", "test_of_any_name", True),
        # It imports another module of tests, of which it takes nothing that varies.
        ("reasoning/test_folder.py", "test_of_any_name", False),
    ],
)
def test_a_module_is_seen_with_what_it_imports_and_what_is_above_it(
    file: str, test: str, expected: bool
) -> None:
    path = TESTS / file
    assert path.is_file()
    assert is_long(path, {test, "tmp_path"}) == expected
