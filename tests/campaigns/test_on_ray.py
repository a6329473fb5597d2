"""A campaign on a Ray cluster of two nodes of this machine: the same results, and nothing is lost with a node."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gradcheck_lab.campaigns import on_ray
from gradcheck_lab.campaigns.cases import Case
from gradcheck_lab.campaigns.manifest import Manifest, Plan
from gradcheck_lab.campaigns.progress import Progress
from gradcheck_lab.campaigns.results import results_in
from gradcheck_lab.campaigns.running import Asked, ray_engine, run_campaign
from gradcheck_lab.errors import InvalidArgument
from tests.campaigns.checks import brief, files_here, planned, write_module
from tests.command_line import exit_code

ROOT = Path(__file__).parents[2]


def test_engine_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidArgument) as refused:
        next(on_ray.run_on_ray([], brief, Plan({}, {}), None))
    assert str(refused.value) == "--engine ray needs Ray; install it with pip install 'gradcheck_lab[ray]'"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory whose nodes import this package and these tests as they are here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(builtins, "print", print)  # Ray puts another in its place, which other tests would see
    return tmp_path


@pytest.fixture
def cluster(folder: Path) -> Iterator[Any]:
    """A head without cores for cases, and two nodes of one core each."""
    pytest.importorskip("ray", reason="install the extra `ray` to run campaigns on a cluster")
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def names(manifest: Manifest) -> list[str]:
    return [result.name for result, _ in results_in([manifest.results])]


@pytest.mark.filterwarnings("ignore")
def test_commands_run_the_manifest_on_a_cluster(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.add_node(num_cpus=2)
    tried = f"open({str(Path('tried.txt').resolve())!r}, 'a').write('x')"
    aborts = f"2, NAME, lambda g: ({tried}, __import__('os').abort())"
    write_module("ops", sound="2, NAME", wrong="2, NAME, factor=2", aborts=aborts)
    assert exit_code("campaign", "plan", "ops.py", "--probes", "compare") == 0
    Path("m.jsonl").write_text(capsys.readouterr().out, encoding="utf-8")
    assert exit_code("campaign", "run", "m.jsonl", "--engine", "ray", "--ray-address", cluster.address) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "fail: ops.py:wrong compare - constant-factor - gradient of input 0 'x' is wrong in 15 of 15 elements" in lines
    (aborted,) = (line for line in lines if line.startswith("fail: ops.py:aborts compare - crashed"))
    assert aborted.endswith("ended its process by signal 6 (SIGABRT)")
    assert lines[-2].startswith("1 pass, 2 fail; ")
    assert lines[-1] == "3/3"
    assert Path("tried.txt").read_text(encoding="utf-8") == "x", "a case that ends its process is not tried again"


@pytest.mark.filterwarnings("ignore")
def test_results_stay_here_and_a_folder_that_is_too_large_is_told_as_that(cluster: Any) -> None:
    cluster.add_node(num_cpus=1)
    asked = Asked(planned(Path("m.jsonl"), [Case("m:f")]))
    for name in ("data [1].txt", "m.results.jsonl", "m.results.1-of-2.jsonl"):
        Path(name).write_text("\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.runtime_env.packaging.GCS_STORAGE_MAX_SIZE", 10)
        with pytest.raises(InvalidArgument) as refused:
            run_campaign(asked, ray_engine(asked, files_here, cluster.address))
    assert str(refused.value).startswith("the Ray cluster does not take the current directory (")
    assert str(refused.value).endswith("); name in a file .rayignore what the nodes do not need")
    run_campaign(asked, ray_engine(asked, files_here, cluster.address))
    ((result, _),) = results_in([asked.path])
    assert result.why == "data [1].txt m.jsonl"


@pytest.mark.parametrize(("name", "pattern"), [("r.jsonl", "/r.jsonl"), ("a/r [1]*.jsonl", r"/a/r\ \[1\]\*.jsonl")])
def test_names_of_results_are_patterns_that_match_them_alone(name: str, pattern: str, folder: Path) -> None:
    assert on_ray._excluded([Path(name), folder.parent / "elsewhere.jsonl"]) == [pattern]


@pytest.mark.filterwarnings("ignore")
def test_cases_of_a_node_that_is_killed_run_elsewhere(cluster: Any) -> None:
    lost, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    manifest = planned(Path("m.jsonl"), [Case(f"m:{k}") for k in range(300)])
    asked, killed = Asked(manifest), list[int]()

    def kill_in_the_middle(now: Progress) -> None:
        if now.done == 100 and not killed:
            killed.append(now.done)
            cluster.remove_node(lost, allow_graceful=False)

    tally = run_campaign(asked, ray_engine(asked, brief, cluster.address), kill_in_the_middle)
    assert killed == [100]
    assert tally.verdicts == {"pass": 300}
    assert sorted(names(manifest)) == sorted(case.name for case in manifest.cases)
    assert manifest.results.read_bytes().count(b"\n") == 300


@pytest.mark.filterwarnings("ignore")
def test_cluster_that_does_not_fit_the_plan_is_refused(cluster: Any) -> None:
    cluster.add_node(num_cpus=1)
    manifest = planned(Path("m.jsonl"), [Case("m:f"), Case("m:g", device="cuda")])
    asked = Asked(manifest)
    with pytest.raises(InvalidArgument) as refused:
        run_campaign(asked, ray_engine(asked, brief, cluster.address))
    assert str(refused.value) == "m:g cuda needs a GPU and the Ray cluster has none; plan without --device cuda"
    one = Asked(planned(Path("one.jsonl"), [Case("m:g", device="cuda:1")]))
    with pytest.raises(InvalidArgument) as refused:
        run_campaign(one, ray_engine(one, brief, cluster.address))
    assert str(refused.value) == (
        "m:g cuda:1 names one GPU of several, and Ray chooses the GPU of a task; plan it on cuda"
    )
    other = Manifest(manifest.path, Plan({}, {"python": "2.7"}), manifest.cases[:1])
    with pytest.raises(InvalidArgument) as refused:
        run_campaign(Asked(other), ray_engine(Asked(other), brief, cluster.address))
    assert "python was 2.7 in the plan and is " in str(refused.value)
    assert str(refused.value).startswith("on the node ")


@pytest.mark.filterwarnings("ignore")
def test_address_without_a_cluster_is_refused(folder: Path) -> None:
    pytest.importorskip("ray", reason="install the extra `ray` to run campaigns on a cluster")
    manifest = planned(Path("m.jsonl"), [Case("m:f")])
    with pytest.raises(InvalidArgument) as refused:
        run_campaign(Asked(manifest), ray_engine(Asked(manifest), brief, "auto"))
    assert str(refused.value).startswith("there is no Ray cluster at 'auto' (")
    assert str(refused.value).endswith("); start one with ray start --head, or name its address with --ray-address")
