"""What the kernel's texts say of a process's cgroup, and whether it is ours to divide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.pod.cgroup_rules import (
    HOME_PREFIX,
    MARGIN_BYTES,
    NEEDED,
    OWN_NAME,
    START_BYTES,
    Facts,
    Mount,
    count_in,
    crossed_by,
    directory_of,
    memory_ceilings,
    memory_kept,
    mounts_in,
    own_path,
    pod_group,
    task_ceiling,
    to_divide,
    wants_group,
    why_not,
)
from pods_protocol.values import Limits

HYBRID = """\
28 24 0:24 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 28 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 28 0:33 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
SYSTEMD = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
25 24 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
BOUND = """\
40 30 0:22 /machine/one /run/my\\040groups rw,relatime master:4 - cgroup2 cgroup2 rw
broken line without a dash
41 30 0:22 - cgroup2
"""
SCOPE = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope"
OURS = Facts(
    directory=f"/sys/fs/cgroup{SCOPE}",
    controllers=frozenset({"cpu", *NEEDED}),
    is_top=False,
    marked=True,
    writable=True,
    is_root=False,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"0::{SCOPE}\n", SCOPE),
        ("12:memory:/a\n1:name=systemd:/b\n0::/\n", "/"),
        ("0::/gone (deleted)\n", "/gone"),
        ("12:memory:/a\n", None),
        ("", None),
    ],
)
def test_a_process_names_its_group(text: str, path: str | None) -> None:
    assert own_path(text) == path


@pytest.mark.parametrize(
    ("mountinfo", "mounts"),
    [
        (HYBRID, [Mount("/", "/sys/fs/cgroup/unified")]),
        (SYSTEMD, [Mount("/", "/sys/fs/cgroup")]),
        (BOUND, [Mount("/machine/one", "/run/my groups")]),
        ("", []),
    ],
)
def test_the_mounts_of_version_two_are_found(mountinfo: str, mounts: list[Mount]) -> None:
    assert mounts_in(mountinfo) == mounts


@pytest.mark.parametrize(
    ("path", "mountinfo", "directory"),
    [
        (SCOPE, SYSTEMD, f"/sys/fs/cgroup{SCOPE}"),
        ("/", HYBRID, "/sys/fs/cgroup/unified"),
        ("/machine/one", BOUND, "/run/my groups"),
        ("/machine/one/below", BOUND, "/run/my groups/below"),
        ("/machine/other", BOUND, None),
        ("/../outside", SYSTEMD, None),
        (SCOPE, "", None),
    ],
)
def test_a_group_lies_where_a_mount_shows_it(
    path: str, mountinfo: str, directory: str | None
) -> None:
    assert directory_of(path, mounts_in(mountinfo)) == directory


def test_who_is_in_the_group_that_we_made_for_that_divides_the_one_above() -> None:
    assert to_divide(f"/g/{OWN_NAME}") == "/g"
    assert to_divide("/g") == "/g"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (OURS, ""),
        (OURS._replace(directory="/sys/fs/cgroup/lent", marked=False), ""),
        (OURS._replace(controllers=frozenset({"hugetlb"})), "no controller for memory and pids"),
        (OURS._replace(controllers=frozenset({"memory"})), "no controller for pids"),
        (OURS._replace(directory="/sys/fs/cgroup", is_top=True), "the whole machine"),
        (OURS._replace(marked=False), "systemd has not delegated"),
        # A container's own group, say: what else is in there would be moved.
        (OURS._replace(directory="/g/box", marked=False, is_root=True), "root may write to every"),
        (OURS._replace(directory="/g/box", is_root=True), ""),
        (OURS._replace(writable=False), "not delegated to this user"),
        (OURS._replace(directory=f"/g/{HOME_PREFIX}0/0123"), "a pod's own cgroup"),
    ],
)
def test_only_a_delegated_group_is_divided(facts: Facts, said: str) -> None:
    assert said in why_not(facts)
    assert bool(why_not(facts)) == bool(said)


def test_a_limit_that_only_a_group_keeps_wants_one() -> None:
    assert wants_group(Limits(memory_bytes=1))
    assert wants_group(Limits(processes=1))
    assert not wants_group(Limits(wall_seconds=1, open_files=9))


@given(st.integers(1, 2**53), st.none() | st.integers(0, 2**53))
def test_the_ceilings_on_memory_are_the_limit_and_what_the_pod_began_with(
    limit: int, begun_with: int | None
) -> None:
    high, most = memory_ceilings(limit, begun_with)
    assert limit <= high <= limit + START_BYTES
    assert high - limit == (START_BYTES if begun_with is None else min(START_BYTES, begun_with)), (
        "who takes much as it begins does not get twice its limit"
    )
    assert high + limit // 8 <= most <= high + limit // 8 + MARGIN_BYTES


def test_what_the_kernel_can_drop_is_not_counted_as_memory() -> None:
    stat = "anon 500\nfile 70\ninactive_file 30\nactive_file 20\nslab_reclaimable 7\nslab 9\n"
    assert memory_kept(1000, stat) == 1000 - 30 - 20 - 7
    assert memory_kept(10, stat) == 0
    assert memory_kept(10, "") == 10


@given(st.integers(1, 4095))
def test_threads_of_a_few_programs_do_not_meet_the_ceiling_of_tasks(processes: int) -> None:
    assert task_ceiling(processes) > processes + 200


@given(st.dictionaries(st.sampled_from(["low", "max", "oom", "oom_kill"]), st.integers(0)))
def test_a_count_is_found_by_its_whole_word(counts: dict[str, int]) -> None:
    text = "".join(f"{word} {number}\n" for word, number in counts.items())
    for word in ("oom", "max", "oom_group_kill"):
        assert count_in(text, word) == counts.get(word, 0)


@given(st.text(), st.text(min_size=1))
def test_no_text_is_too_strange_to_be_read(text: str, word: str) -> None:
    assert count_in(text, word) >= 0
    mounts = mounts_in(text)
    path = own_path(text)
    if path is not None:
        directory_of(path, mounts)
    pod_group(path, word)


def test_events_name_the_limit_that_was_crossed() -> None:
    assert [crossed_by(word) for word in ("high", "oom", "max")] == [
        "memory_bytes", "memory_bytes", "processes"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (f"/g/{HOME_PREFIX}0/abc", f"/g/{HOME_PREFIX}0/abc"),
        (f"/g/{HOME_PREFIX}0/other", ""),
        ("/g/abc", ""),
        (f"/g/{OWN_NAME}", ""),
        (None, ""),
    ],
)
def test_a_pods_group_is_known_by_where_its_process_is(path: str | None, group: str) -> None:
    assert pod_group(path, "abc") == group
