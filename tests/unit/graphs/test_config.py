from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bedplate.graphs.config import given_blocks, load_config, notices_of
from bedplate.kernel.errors import Refused

Project = Callable[..., Path]


def test_a_project_is_read_with_its_graphs_paths_and_environment(project: Project) -> None:
    folder = project(
        {
            "graphs": {
                "a": "./agents/a.py:graph",
                "b": {"path": "pkg.mod:make", "description": "The b"},
            },
            "dependencies": [".", "./lib", "requests"],
            "env": ".env",
            "store": {"index": {"dims": 3}},
            "auth": {"path": "./auth.py:auth"},
            "python_version": "3.12",
            "shiny": True,
            "ui": {},
        },
        **{
            "agents__in__a.py": "",
            "lib__in__src__in__x.py": "",
            ".env": "ONE=1\nexport TWO='two words'\n",
        },
    )
    config = load_config(folder)
    assert config.graphs["a"].file == (folder / "agents/a.py").resolve()
    assert (config.graphs["b"].module, config.graphs["b"].name) == ("pkg.mod", "make")
    assert config.graphs["b"].description == "The b"
    assert config.import_paths == (folder, folder / "lib", folder / "lib/src")
    assert config.added_env({"ONE": "kept"}) == {"TWO": "two words"}
    assert config.store == {"index": {"dims": 3}}
    assert config.http == {}
    assert [notice for notice in config.notices if "'shiny'" in notice]
    assert [notice for notice in config.notices if "'ui'" in notice]
    assert len(config.notices) == 2


GRAPHS = {"g": "m:g"}


def test_a_file_of_variables_that_is_not_there_is_noticed(project: Project) -> None:
    config = load_config(project({"graphs": GRAPHS, "env": ".env"}))
    assert config.env == {}
    (notice,) = config.notices
    assert "'env'" in notice and ".env, which does not exist" in notice


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ('{"graphs": \n  {,}}', ["not valid JSON", "line 2, column 4"]),
        ("[]", ["JSON object"]),
        ({}, ["'graphs'"]),
        ({"graphs": {}}, ["'graphs'"]),
        ({"graphs": {"g": 1}}, ["'graphs.g'", "text"]),
        ({"graphs": {"g": {"description": "x"}}}, ["'graphs.g'"]),
        ({"graphs": {"g": {"path": "m:g", "description": 1}}}, ["'graphs.g.description'"]),
        ({"graphs": {"g": "no_colon"}}, ["'graphs.g'", "./path/file.py:name"]),
        ({"graphs": {"g": "./gone.py:g"}}, ["'graphs.g'", "gone.py", "does not exist"]),
        ({"graphs": {"g": "./app.ts:g"}}, ["'graphs.g'", "Python graphs only"]),
        ({"graphs": {"g": "a-b:g"}}, ["'graphs.g'", "no module name"]),
        ({"graphs": {"g": "m:two words"}}, ["'graphs.g'"]),
        ({"graphs": {"": "m:g"}}, ["must not be empty"]),
        ({"graphs": GRAPHS, "dependencies": "."}, ["'dependencies'", "list"]),
        ({"graphs": GRAPHS, "dependencies": ["./gone"]}, ["'dependencies[0]'", "does not exist"]),
        ({"graphs": GRAPHS, "env": {"A": []}}, ["'env.A'"]),
        ({"graphs": GRAPHS, "env": 3}, ["'env'"]),
        ({"graphs": GRAPHS, "http": []}, ["'http'", "object"]),
    ],
)
def test_what_is_wrong_is_refused_with_its_key(
    project: Project, document: Any, words: list[str]
) -> None:
    folder = project(document)
    with pytest.raises(Refused) as refused:
        load_config(folder / "langgraph.json")
    for word in words:
        assert word in refused.value.message


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no configuration file .*langgraph\.json"):
        load_config(tmp_path)


def test_an_image_may_bring_its_project_as_variables(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    whole = '{"graphs": {"a": "m:a"}, "dependencies": ["./lib"], "store": {"path": "m:s"}}'
    config = load_config(tmp_path, {"LANGGRAPH_CONFIG": whole})
    assert (list(config.graphs), config.store) == (["a"], {"path": "m:s"})
    assert config.import_paths == (tmp_path, tmp_path / "lib")
    config = load_config(tmp_path, {"LANGGRAPH_CONFIG": whole, "LANGSERVE_GRAPHS": '{"b": "m:b"}'})
    assert (list(config.graphs), config.store) == (["b"], {"path": "m:s"})
    alone = load_config(tmp_path, {"LANGSERVE_GRAPHS": '{"b": "m:b"}'})
    assert (list(alone.graphs), alone.import_paths) == (["b"], (tmp_path,))


def test_the_graphs_of_a_variable_win_over_the_files(project: Project) -> None:
    folder = project({"graphs": {"a": "m:a"}, "http": {"x": 1}})
    config = load_config(folder, {"LANGSERVE_GRAPHS": '{"b": "m:b"}'})
    assert (list(config.graphs), config.http) == (["b"], {"x": 1})


def test_services_without_a_file_read_the_blocks_of_the_variable() -> None:
    whole = '{"graphs": {"a": "m:a"}, "webhooks": {"headers": {}}, "env": {"ONE": "1"}}'
    blocks = given_blocks(None, {"LANGGRAPH_CONFIG": whole})
    assert (blocks.webhooks, blocks.env["ONE"]) == ({"headers": {}}, "1")


@pytest.mark.parametrize("text", ["[]", "./langgraph.json"])
def test_a_variable_that_is_no_object_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="LANGGRAPH_CONFIG"):
        load_config(tmp_path, {"LANGGRAPH_CONFIG": text})


def test_what_has_no_effect_is_noticed_also_within_a_block(project: Project) -> None:
    folder = project(
        {"graphs": GRAPHS, "auth": {"allow_langsmith_api_keys": True}, "ui_config": None}
    )
    (notice,) = notices_of(folder, {})
    assert "'auth.allow_langsmith_api_keys' has no effect" in notice
    assert notices_of(folder / "gone.json", {}) == (), "whoever needs the file says so"
