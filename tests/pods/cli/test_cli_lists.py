"""`pods ls`, `tree`, `inspect` and `scope`: what is shown."""

from __future__ import annotations

import json

from cli_support import Cli, listed
from client_support import Json, World, always, pod_info
from pods.cli.tree import tree_lines


def test_ls_is_a_table(fake: World, pods: Cli) -> None:
    two = [{"target": f"/src/{n}", "permission": "write", "recursive": True} for n in "ab"]
    listed(
        fake,
        pod_info(state="working", turn=3, queue_length=2, unread=5),
        pod_info(
            "kid\x1b",
            parent="api",
            last_turn={"turn": 1, "stop_reason": "end_turn"},
            scope={"allow": two, "deny": [], "delegable": []},
            memory_bytes=None,
        ),
    )
    code, out, err = pods("ls")
    header, api, kid = out.splitlines()
    assert (code, err) == (0, "")
    assert header.split() == [
        *("NAME", "STATE", "TURN", "QUEUE", "UNREAD", "PARENT", "AGENT", "WRITE", "AGE", "RSS"),
    ]
    assert api.split()[:8] == ["api", "working", "3", "2", "5", "-", "shell", "/src/api"]
    assert api.split()[9] == "5.2M"
    assert "1 end_turn" in kid
    assert "/src/a +1" in kid
    assert "\x1b" not in out
    assert fake.supervisor.params_of("list") == [{"ended": False, "reader": "cli"}]


def test_ls_in_its_other_forms(fake: World, pods: Cli) -> None:
    answer = listed(fake, pod_info(), pod_info("web"))
    assert pods("ls", "-q") == (0, "api\nweb\n", "")
    assert json.loads(pods("ls", "--json")[1]) == answer
    pods("ls", "-a")
    assert fake.supervisor.params_of("list")[2]["ended"] is True


def test_ls_tells_that_its_memory_is_counted_with_what_pods_share(pods: Cli) -> None:
    code, out, _ = pods("ls", "--help")
    assert code == 0
    assert "most of an idle pod's is shared with all other pods" in " ".join(out.lower().split())


def test_ls_says_where_nothing_enforces(fake: World, pods: Cli) -> None:
    off: Json = {"backend": "none", "summary": "none", "gaps": [], "reason": "no Landlock"}
    listed(fake, pod_info(enforcement=off))
    assert "enforcement: none (no Landlock)" in pods("ls")[2]


def test_tree_puts_children_below_their_parents() -> None:
    root = pod_info("root")
    kids = [pod_info(name, parent="root", parent_id=root["id"]) for name in ("a", "b")]
    grandchild = pod_info("c", parent="a", parent_id=kids[0]["id"], state="working")
    orphan = pod_info("o", parent="gone", parent_id="gone")
    assert tree_lines([root, *kids, grandchild, orphan]) == [
        "root  idle  /src/root",
        "├─ a  idle  /src/a",
        "│  └─ c  working  /src/c",
        "└─ b  idle  /src/b",
        "o  idle  /src/o",
    ]


def test_tree_is_printed_and_comes_as_json(fake: World, pods: Cli) -> None:
    answer = listed(fake, pod_info())
    assert pods("tree") == (0, "api  idle  /src/api\n", "")
    assert json.loads(pods("tree", "--json")[1]) == answer


def test_inspect_shows_every_fact(fake: World, pods: Cli) -> None:
    answer = {
        "pod": pod_info(description="two\nlines"),
        "socket": "/s",
        "directory": "/d",
        "keeper_pid": 1,
        "queue": [
            {
                "message_id": "m1",
                "input": "next\nline",
                "position": 1,
                "sender": "pod lead",
                "accepted": 0.0,
            },
        ],
        "notes": [],
        "undelivered": [
            {"message_id": "m0", "input": "late", "sender": "", "accepted": 1.0, "given_up": 2.0},
        ],
        "questions": [],
        "options": {},
        "limits": {"turn_seconds": None},
        "python": None,
    }
    fake.supervisor.answers["inspect"] = always(answer)
    code, out, _ = pods("inspect", "api")
    facts = dict(line.split(None, 1) for line in out.splitlines())
    assert code == 0
    assert facts["description"] == "two lines"
    assert facts["queue"] == "1. m1 from pod lead: 'next\\nline'"
    assert facts["notes"] == "-"
    assert facts["undelivered"].startswith("m0, ")
    assert facts["undelivered"].endswith(" ago: 'late'")
    assert facts["python"] == "-"
    assert json.loads(pods("inspect", "api", "--json")[1]) == answer


def test_scope_show_says_who_holds_what(fake: World, pods: Cli) -> None:
    rule = {"target": "/src", "permission": "write", "recursive": False}
    holder = {
        "pod": "api",
        "id": "i",
        "supervisor": "default",
        "parent_id": None,
        "grant": {"allow": [rule], "deny": [rule], "delegable": []},
        "effective_write": [],
        "lent": [rule],
        "pending": True,
    }
    fake.supervisor.answers["scope.show"] = always({"holders": [holder]})
    code, out, _ = pods("scope", "show", "api")
    assert code == 0
    assert out.splitlines() == [
        "api (pending)",
        "  write /src (flat)",
        "  not write /src (flat)",
        "  lent: write /src (flat)",
    ]
    assert json.loads(pods("scope", "show", "--json")[1]) == {"holders": [holder]}


def test_scope_check_exits_as_a_spawn_would(fake: World, pods: Cli) -> None:
    rule = {"target": "/src", "permission": "write", "recursive": True}
    granted = {
        "granted": True,
        "normalised": [rule],
        "code": None,
        "message": "",
        "owner": None,
    }
    fake.supervisor.answers["scope.check"] = always(granted)
    assert pods("scope", "check", "--write", "/src") == (0, "free: write /src\n", "")
    refused = {
        **granted,
        "granted": False,
        "code": "scope_conflict",
        "message": "cannot lend /src: web has it",
    }
    fake.supervisor.answers["scope.check"] = always(refused)
    assert pods("scope", "check", "--write", "/src") == (
        5,
        "",
        "pods: cannot lend /src: web has it\n",
    )
    code, out, _ = pods("scope", "check", "--write", "/src", "--json")
    assert (code, json.loads(out)) == (5, refused)
    fake.supervisor.answers["scope.check"] = always({**refused, "code": "invalid_scope"})
    assert pods("scope", "check", "--write", "/src")[0] == 2
